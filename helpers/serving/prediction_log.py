"""The few messages of TensorFlow Serving that a warm-up file is made of.

The package tensorflow-serving-api has them too, but it installs the full ``tensorflow`` beside
``tensorflow-cpu``. So the fields are declared here, with the names and numbers of
``tensorflow_serving/apis`` (https://github.com/tensorflow/serving):

- ``prediction_log.proto``: ``PredictionLog.predict_log`` = 6, ``PredictLog.request`` = 1
- ``predict.proto``: ``PredictRequest.model_spec`` = 1, ``.inputs`` = 2, a map from text to
  ``TensorProto``
- ``model.proto``: ``ModelSpec.name`` = 1, ``.signature_name`` = 3

A message inside a message is written like bytes: a length, then the content
(https://protobuf.dev/programming-guides/encoding/#submessages). So the values of ``inputs`` are
declared as bytes here and hold serialized ``TensorProto`` messages, which TensorFlow reads and
writes. Fields that are not declared, such as ``PredictLog.response``, are kept and ignored.
"""

from __future__ import annotations

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from google.protobuf.message import Message

PACKAGE = "tensorflow.serving"
FieldType = descriptor_pb2.FieldDescriptorProto


def new_prediction_log() -> Message:
    """Return an empty ``PredictionLog``.

    Its class lives in a pool of its own, so that it never meets the one of tensorflow-serving-api.
    """
    pool = descriptor_pool.DescriptorPool()
    pool.Add(_file())
    found = pool.FindMessageTypeByName(f"{PACKAGE}.PredictionLog")
    return message_factory.GetMessageClass(found)()


def _file() -> descriptor_pb2.FileDescriptorProto:
    file = descriptor_pb2.FileDescriptorProto(
        name="prediction_log.proto", package=PACKAGE, syntax="proto3"
    )
    specification = file.message_type.add(name="ModelSpec")
    _add(specification, "name", 1, FieldType.TYPE_STRING)
    _add(specification, "signature_name", 3, FieldType.TYPE_STRING)

    request = file.message_type.add(name="PredictRequest")
    _add(request, "model_spec", 1, FieldType.TYPE_MESSAGE, ".ModelSpec")
    _add(request, "inputs", 2, FieldType.TYPE_MESSAGE, ".PredictRequest.InputsEntry", repeated=True)
    # A map is written as a list of entries with a key and a value.
    entry = request.nested_type.add(name="InputsEntry", options={"map_entry": True})
    _add(entry, "key", 1, FieldType.TYPE_STRING)
    _add(entry, "value", 2, FieldType.TYPE_BYTES)

    log = file.message_type.add(name="PredictLog")
    _add(log, "request", 1, FieldType.TYPE_MESSAGE, ".PredictRequest")
    prediction = file.message_type.add(name="PredictionLog")
    _add(prediction, "predict_log", 6, FieldType.TYPE_MESSAGE, ".PredictLog")
    return file


def _add(
    message: descriptor_pb2.DescriptorProto,
    name: str,
    number: int,
    kind: int,
    type_name: str = "",
    repeated: bool = False,
) -> None:
    label = FieldType.LABEL_REPEATED if repeated else FieldType.LABEL_OPTIONAL
    field = message.field.add(name=name, number=number, type=kind, label=label)
    if type_name:
        field.type_name = f".{PACKAGE}{type_name}"
