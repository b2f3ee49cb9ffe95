"""An ONNX file, run by ONNX Runtime. Nothing here imports TensorFlow or Keras."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np

from helpers.formats.identify import ArtifactError, identify
from helpers.formats.runtime import Runtime
from helpers.formats.tensors import TensorSpec

OnnxOptimization = Literal[
    "disable_all", "enable_basic", "enable_extended", "enable_layout", "enable_all"
]
"""How much the runtime may rewrite the graph when it opens a file; its names, in small letters."""


class OnnxRuntime(Runtime):
    """An ONNX file in an ONNX Runtime session on the CPU."""

    def __init__(self, path: Path, options: Any) -> None:
        import onnxruntime
        from onnxruntime.capi import onnxruntime_pybind11_state as errors

        try:
            self._model = onnxruntime.InferenceSession(
                str(path), sess_options=options, providers=["CPUExecutionProvider"]
            )
        except (
            errors.Fail,
            errors.InvalidArgument,
            errors.InvalidGraph,
            errors.InvalidProtobuf,
            errors.NotImplemented,
            errors.NoSuchFile,
            errors.RuntimeException,
        ) as error:
            raise _onnx_error(path, error) from error
        inputs = [_onnx_spec(value) for value in self._model.get_inputs()]
        outputs = [_onnx_spec(value) for value in self._model.get_outputs()]
        self._output_names = [spec.name for spec in outputs]
        super().__init__("ONNX Runtime", inputs, outputs)

    def _run(self, feeds: dict[str, np.ndarray]) -> list[np.ndarray]:
        return self._model.run(self._output_names, feeds)


def _onnx_error(path: Path, error: Exception) -> ArtifactError:
    # Without the path, whose words would be taken for the runtime's.
    message = " ".join(str(error).replace(str(path), "the file").split())
    if "Protobuf parsing failed" in message:
        return ArtifactError(
            path,
            "it starts like an ONNX file but cannot be read to its end, so it was probably cut off",
            "Convert or copy the model again, and compare the sizes.",
        )
    if "is not a registered function/op" in message or "No Op registered" in message:
        remedy = (
            "The conversion left in an operator that ONNX does not have. Replace the layer it "
            "comes from, or keep that step outside the model."
        )
    elif "opset" in message or "IR version" in message:
        remedy = "Convert with a lower target opset, or install a newer onnxruntime."
    elif "external" in message.lower():
        remedy = "The weights are in a second file. Copy it beside the .onnx file."
    else:
        remedy = "Check the file with onnx.checker.check_model(path, full_check=True)."
    return ArtifactError(path, f"ONNX Runtime refuses it ({message})", remedy)


def _onnx_spec(value: Any) -> TensorSpec:
    element = re.fullmatch(r"tensor\((\w+)\)", value.type)
    if element is None:
        dtype = value.type  # a sequence or a map: it has no NumPy name
    else:
        dtype = {"float": "float32", "double": "float64"}.get(element[1], element[1])
    shape = tuple(axis if isinstance(axis, int) else None for axis in value.shape)
    return TensorSpec(value.name, shape, dtype)


def load_onnx(
    path: str | Path,
    intra_op_num_threads: int = 1,
    allow_spinning: bool = False,
    optimization: OnnxOptimization = "enable_all",
    session_options: Any = None,
) -> OnnxRuntime:
    """Open an ONNX file in ONNX Runtime on the CPU. TensorFlow is never imported.

    Args:
        path: the ``.onnx`` file.
        intra_op_num_threads: threads inside one operator. The runtime's own default, one for each
            core, slows down everything else in the process; see `allow_spinning`.
        allow_spinning: let idle threads burn processor time while they wait for the next call.
        optimization: how much the runtime may rewrite the graph; "enable_all" is its own default.
        session_options: an `onnxruntime.SessionOptions` to use instead of the three above.

    Raises:
        ArtifactError: damaged, of another kind, or with operators that the runtime lacks.
        ValueError: no such optimization.
    """
    path = Path(path)
    kind = identify(path)
    if kind != "onnx":
        raise ArtifactError(path, f"it is {kind}, not an ONNX file", "Use open_artifact(path).")
    import onnxruntime

    if session_options is None:
        if optimization not in get_args(OnnxOptimization):
            known = ", ".join(get_args(OnnxOptimization))
            raise ValueError(f"optimization: expected one of {known}, got {optimization!r}")
        session_options = onnxruntime.SessionOptions()
        session_options.graph_optimization_level = getattr(
            onnxruntime.GraphOptimizationLevel, f"ORT_{optimization.upper()}"
        )
        session_options.intra_op_num_threads = intra_op_num_threads
        session_options.add_session_config_entry(
            "session.intra_op.allow_spinning", "1" if allow_spinning else "0"
        )
    return OnnxRuntime(path, session_options)
