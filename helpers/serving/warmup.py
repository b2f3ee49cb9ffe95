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
from google.protobuf.message import DecodeError

from helpers.artifacts import ArtifactError, identify
from helpers.serving.prediction_log import new_prediction_log

WARMUP_FILE = Path("assets.extra", "tf_serving_warmup_requests")
MAX_REQUESTS = 1000
"""TensorFlow Serving refuses to load a model with more."""


@dataclass(frozen=True)
class WarmupRequest:
    """One request of a warm-up file.

    Attributes:
        model_name: that the request is for.
        signature_name: the function to call.
        inputs: arrays by input name.
    """

    model_name: str
    signature_name: str
    inputs: dict[str, np.ndarray]


def write_warmup_requests(
    version_folder: str | Path,
    requests: Sequence[Mapping[str, np.ndarray]],
    *,
    model_name: str,
    signature_name: str = "serving_default",
) -> Path:
    """Write requests that are like the real ones into a version's folder.

    Write the file before the version is put where a server looks for it.

    Args:
        version_folder: a SavedModel folder.
        requests: for each one, the arrays by input name, with the batch axis.
        model_name: under which the version is served.
        signature_name: the function to call.

    Returns:
        The path of the file.

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
    records = []
    for request in requests:
        if not isinstance(request, Mapping) or not request:
            raise ValueError(f"requests: expected arrays by input name, got {request!r}")
        log = new_prediction_log()
        message = log.predict_log.request
        message.model_spec.name = model_name
        message.model_spec.signature_name = signature_name
        for name, array in request.items():
            message.inputs[name] = tf.make_tensor_proto(array).SerializeToString()
        records.append(log.SerializeToString())
    path.parent.mkdir(exist_ok=True)
    with tf.io.TFRecordWriter(str(path)) as writer:
        for record in records:
            writer.write(record)
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
        records = [record.numpy() for record in tf.data.TFRecordDataset(str(path))]
        return tuple(_parse(record) for record in records)
    except (tf.errors.DataLossError, DecodeError, TypeError, ValueError) as error:
        reason = " ".join(str(error).split())
        raise ArtifactError(
            path, f"it is no file of predict requests ({reason})", "Delete it, or write it again."
        ) from error


def _parse(record: bytes) -> WarmupRequest:
    import tensorflow as tf
    from tensorflow.core.framework.tensor_pb2 import TensorProto

    log = new_prediction_log()
    log.ParseFromString(record)
    if not log.HasField("predict_log"):
        raise ValueError("a record without predict_log")
    message = log.predict_log.request
    inputs = {
        name: tf.make_ndarray(TensorProto.FromString(content))
        for name, content in sorted(message.inputs.items())
    }
    specification = message.model_spec
    return WarmupRequest(specification.name, specification.signature_name, inputs)
