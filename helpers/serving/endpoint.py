"""A loaded SavedModel, called by signature. This module is for the server's process."""

from __future__ import annotations

import sys
import textwrap
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from helpers.artifacts import ArtifactError, identify
from helpers.sample_inputs import sample_inputs
from helpers.serving.body import DEFAULT_SIGNATURE, encode_answer, read_body, to_arrays
from helpers.serving.errors import RequestError
from helpers.serving.warmup import read_warmup_requests
from helpers.tensors import TensorSpec

LONGEST_REASON = 300


class Endpoint:
    """One version of a model.

    Args:
        path: the folder of the version.

    Raises:
        ArtifactError: no SavedModel, damaged, or without signatures.
    """

    def __init__(self, path: Path) -> None:
        import tensorflow as tf

        kind = identify(path)
        if kind != "saved_model":
            raise ArtifactError(path, f"it is {kind}, not a SavedModel", "Use `model.export`.")
        try:
            self._model = tf.saved_model.load(str(path))  # kept: it owns the variables
        except Exception as error:  # the loader has no type of its own
            message = " ".join(str(error).split())
            raise ArtifactError(
                path,
                f"TensorFlow cannot load it ({message})",
                "A file of the folder is missing or damaged. Copy or export all of it again.",
            ) from error
        self._signatures = dict(self._model.signatures)
        if not self._signatures:
            raise ArtifactError(path, "it has no signatures", "Export it with `model.export`.")
        self.inputs = {name: _specs(each, True) for name, each in self._signatures.items()}
        self.outputs = {name: _specs(each, False) for name, each in self._signatures.items()}
        self._convert = tf.convert_to_tensor

    def answer(self, body: bytes, max_rows: int) -> bytes:
        """Answer the body of a request of the predict API.

        Raises:
            RequestError: the request does not fit the model, or the model refuses it.
        """
        request = read_body(body)
        if request.signature not in self._signatures:
            known = ", ".join(sorted(self._signatures))
            raise RequestError(f"no signature '{request.signature}'; there are: {known}")
        arrays = to_arrays(request, self.inputs[request.signature], max_rows)
        try:
            outputs = self.predict(arrays, request.signature)
        except Exception as error:  # the graph's own checks: tf.errors.InvalidArgumentError, ...
            raise RequestError(f"the model refused the request: {_reason(error)}") from error
        return encode_answer(outputs, request.by_row)

    def predict(
        self, arrays: Mapping[str, np.ndarray], signature: str = DEFAULT_SIGNATURE
    ) -> dict[str, np.ndarray]:
        """Call a signature with arrays by input name."""
        tensors = {name: self._convert(array) for name, array in arrays.items()}
        results = self._signatures[signature](**tensors)
        return {spec.name: results[spec.name].numpy() for spec in self.outputs[signature]}

    def metadata(self) -> dict[str, Any]:
        """Describe the signatures, as TensorFlow Serving's metadata API does."""
        return {
            name: {
                "inputs": {spec.name: _describe(spec) for spec in self.inputs[name]},
                "outputs": {spec.name: _describe(spec) for spec in self.outputs[name]},
            }
            for name in sorted(self._signatures)
        }


def load_and_warm_up(path: Path) -> Endpoint:
    """Load a version and let it answer before anyone asks.

    The first call of a graph allocates and optimizes. The requests of the warm-up file are replayed
    when the version has one; otherwise one made-up row is sent, where the signature allows it.

    Raises:
        ArtifactError: it cannot be loaded, or fails on its own warm-up requests.
    """
    endpoint = Endpoint(path)
    requests = read_warmup_requests(path)
    for request in requests:
        try:
            endpoint.predict(request.inputs, request.signature_name)
        except Exception as error:  # whatever the graph raises
            raise ArtifactError(
                path, f"it fails on its warm-up requests ({error})", "Write the file again."
            ) from error
    if not requests and DEFAULT_SIGNATURE in endpoint.inputs:
        try:
            made_up = sample_inputs(endpoint.inputs[DEFAULT_SIGNATURE], rows=1)
            endpoint.predict(made_up.arrays)
        except Exception as error:  # made-up inputs may not suit a model that is right
            print(f"{path} is not warmed up: {_reason(error)}", file=sys.stderr, flush=True)
    return endpoint


def _reason(error: Exception) -> str:
    """Cut the place in the graph off TensorFlow's message."""
    message = " ".join(str(error).split())
    return textwrap.shorten(message.split("<stack traces unavailable> ")[-1], LONGEST_REASON)


def _specs(function: Any, inputs: bool) -> list[TensorSpec]:
    found = function.structured_input_signature[1] if inputs else function.structured_outputs
    return [
        TensorSpec(
            name,
            None if spec.shape.rank is None else tuple(spec.shape.as_list()),
            spec.dtype.name,
        )
        for name, spec in sorted(found.items())
    ]


def _describe(spec: TensorSpec) -> dict[str, Any]:
    """Write a tensor as TensorFlow's TensorInfo message looks in JSON."""
    import tensorflow as tf
    from tensorflow.core.framework.types_pb2 import DataType

    dtype = DataType.Name(tf.as_dtype(spec.dtype).as_datatype_enum)
    sizes = [{"size": str(-1 if length is None else length)} for length in spec.shape or ()]
    shape = {"dim": sizes, "unknown_rank": spec.shape is None}
    return {"dtype": dtype, "tensor_shape": shape}
