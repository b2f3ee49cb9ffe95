"""The warm-up file of a model version: requests that a server answers before anyone asks.

TensorFlow Serving replays ``assets.extra/tf_serving_warmup_requests`` when it loads a version
(https://github.com/tensorflow/serving/blob/master/tensorflow_serving/g3doc/saved_model_warmup.md).
The file is a TFRecord, TensorFlow's format for a list of records with checksums; each record is a
``PredictionLog`` message.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory, text_format
from google.protobuf.message import DecodeError, Message

from helpers.formats.identify import ArtifactError, identify

WARMUP_FILE = Path("assets.extra", "tf_serving_warmup_requests")
MAX_REQUESTS = 1000
"""TensorFlow Serving refuses to load a model with more."""
MESSAGES = """
name: "prediction_log.proto" package: "tensorflow.serving" syntax: "proto3"
message_type { name: "ModelSpec" field { name: "name" number: 1 type: TYPE_STRING }
  field { name: "signature_name" number: 3 type: TYPE_STRING } }
message_type { name: "PredictRequest"
  field { name: "model_spec" number: 1 type_name: "ModelSpec" }
  field { name: "inputs" number: 2 type_name: "InputsEntry" label: LABEL_REPEATED }
  nested_type { name: "InputsEntry" options { map_entry: true }
    field { name: "key" number: 1 type: TYPE_STRING }
    field { name: "value" number: 2 type: TYPE_BYTES } } }
message_type { name: "PredictLog" field { name: "request" number: 1 type_name: "PredictRequest" } }
message_type { name: "PredictionLog"
  field { name: "predict_log" number: 6 type_name: "PredictLog" } }
"""
"""The messages of ``tensorflow_serving/apis`` that a warm-up file is made of.

The package tensorflow-serving-api has them too, but it installs the full ``tensorflow`` beside
``tensorflow-cpu``. A message inside a message is written like bytes, so the ``TensorProto``
messages in ``inputs`` are declared as bytes, which TensorFlow reads and writes. Fields that are not
declared, such as ``PredictLog.response``, are kept and ignored.
"""


@dataclass(frozen=True)
class WarmupRequest:
    """One request of a warm-up file; its inputs are arrays by name."""

    model_name: str
    signature_name: str
    inputs: dict[str, np.ndarray]


def new_prediction_log() -> Message:
    """Return an empty ``PredictionLog``, of a pool that never meets tensorflow-serving-api's."""
    pool = descriptor_pool.DescriptorPool()
    pool.Add(text_format.Parse(MESSAGES, descriptor_pb2.FileDescriptorProto()))
    found = pool.FindMessageTypeByName("tensorflow.serving.PredictionLog")
    return message_factory.GetMessageClass(found)()


def write_warmup_requests(
    version_folder: str | Path,
    requests: Sequence[Mapping[str, np.ndarray]],
    *,
    model_name: str,
    signature_name: str = "serving_default",
) -> Path:
    """Write requests that are like the real ones into a version's folder, and return the path.

    Write the file before the version is put where a server looks for it.

    Args:
        version_folder: a SavedModel folder.
        requests: for each one, the arrays by input name, with the batch axis.
        model_name, signature_name: under which the version is served, and what to call.

    Raises:
        ArtifactError: the folder is no SavedModel.
        FileExistsError: the version has a warm-up file already.
        ValueError: no requests, more than 1000, or one that is no mapping of arrays.
    """
    import tensorflow as tf

    folder = Path(version_folder)
    kind = identify(folder)
    if kind != "saved_model":
        raise ArtifactError(folder, f"it is {kind}, not a SavedModel", "Use `model.export`.")
    if not 1 <= len(requests) <= MAX_REQUESTS:
        raise ValueError(f"requests: expected 1 to {MAX_REQUESTS} of them, got {len(requests)}")
    path = folder / WARMUP_FILE
    if path.exists():
        raise FileExistsError(f"{path} is there already. Delete it first.")
    logs = [new_prediction_log() for _ in requests]
    for log, request in zip(logs, requests, strict=True):
        if not isinstance(request, Mapping) or not request:
            raise ValueError(f"requests: expected arrays by input name, got {request!r}")
        message = log.predict_log.request
        message.model_spec.name = model_name
        message.model_spec.signature_name = signature_name
        for name, array in request.items():
            message.inputs[name] = tf.make_tensor_proto(array).SerializeToString()
    path.parent.mkdir(exist_ok=True)
    with tf.io.TFRecordWriter(str(path)) as writer:
        for log in logs:
            writer.write(log.SerializeToString())
    return path


def read_warmup_requests(version_folder: str | Path) -> tuple[WarmupRequest, ...]:
    """Read the warm-up file of a version; a version without one has no requests.

    Raises:
        ArtifactError: the file is damaged, or holds other requests than predict requests.
    """
    path = Path(version_folder) / WARMUP_FILE
    if not path.exists():
        return ()
    import tensorflow as tf

    try:
        return tuple(_parse(each.numpy()) for each in tf.data.TFRecordDataset(str(path)))
    except (tf.errors.DataLossError, DecodeError, TypeError, ValueError) as error:
        finding = f"it is no file of predict requests ({' '.join(str(error).split())})"
        raise ArtifactError(path, finding, "Delete it, or write it again.") from error


def _parse(record: bytes) -> WarmupRequest:
    import tensorflow as tf
    from tensorflow.core.framework.tensor_pb2 import TensorProto

    log = new_prediction_log()
    log.ParseFromString(record)
    if not log.HasField("predict_log"):
        raise ValueError("a record without predict_log")
    message = log.predict_log.request
    protos = {name: TensorProto.FromString(each) for name, each in sorted(message.inputs.items())}
    inputs = {name: tf.make_ndarray(proto) for name, proto in protos.items()}
    return WarmupRequest(message.model_spec.name, message.model_spec.signature_name, inputs)
