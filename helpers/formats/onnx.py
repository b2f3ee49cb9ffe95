"""The kind ``.onnx``, run by ONNX Runtime. Nothing here imports TensorFlow or Keras."""

from __future__ import annotations

import math
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, get_args

import numpy as np

from helpers.formats.format import ArtifactSize, Format, Look, Refusal, StoredFile, Traits
from helpers.formats.identify import identify_as, refusing, unreadable
from helpers.formats.runtime import Runtime
from helpers.formats.tensors import TensorSpec

if TYPE_CHECKING:
    import onnx

OnnxOptimization = Literal[
    "disable_all", "enable_basic", "enable_extended", "enable_layout", "enable_all"
]
"""How much the runtime may rewrite the graph when it opens a file; its names, in small letters."""


CUT_OFF = (
    "it starts like an ONNX file but cannot be read to its end, so it was probably cut off",
    "Convert or copy the model again, and compare the sizes.",
)


class OnnxRuntime(Runtime):
    """An ONNX file in an ONNX Runtime session on the CPU."""

    def __init__(self, path: Path, options: Any) -> None:
        import onnxruntime

        self._model = onnxruntime.InferenceSession(
            str(path),
            sess_options=options,
            providers=["CPUExecutionProvider"],
            enable_fallback=0,  # else a file that fails is tried twice, with prints
        )
        inputs = [_onnx_spec(value) for value in self._model.get_inputs()]
        outputs = [_onnx_spec(value) for value in self._model.get_outputs()]
        self._output_names = [spec.name for spec in outputs]
        super().__init__("ONNX Runtime", inputs, outputs)

    def _run(self, feeds: dict[str, np.ndarray]) -> list[np.ndarray]:
        return self._model.run(self._output_names, feeds)


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
    identify_as(path, "an ONNX file", "onnx")
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
    # The path is left out: its words would be taken for the runtime's.
    with refusing(path, lambda error: _explain(str(error).replace(str(path), "the file"))):
        return OnnxRuntime(path, session_options)


def _explain(words: str) -> Refusal:
    """Return finding and remedy for what ONNX Runtime says of a file."""
    message = " ".join(words.split())
    if "Protobuf parsing failed" in message:
        return CUT_OFF
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
    return f"ONNX Runtime refuses it ({message})", remedy


def _weigh(path: Path) -> ArtifactSize:
    import onnx

    with refusing(path, lambda error: CUT_OFF):
        # The format is named, else the suffix would choose how the file is read.
        model = onnx.load(path, format="protobuf", load_external_data=False)
    with refusing(path, unreadable("its tensors", CUT_OFF[1])):
        tensors = list(_tensors(model))
        parameters = sum(map(_tensor_bytes, tensors))
        names = {
            entry.value
            for tensor in tensors
            for entry in tensor.external_data
            if entry.key == "location"
        }
        outside = sorted(name for name in names if not _lies_inside(name))
        files = tuple(
            StoredFile(name, (path.parent / name).stat().st_size)
            for name in [path.name, *sorted(names - set(outside))]
            if (path.parent / name).is_file()
        )
    flags = tuple(
        f"Outside its folder: it names {name!r} for its weights, which is not counted. Runtimes "
        "refuse such a file."
        for name in outside
    )
    total = sum(file.size_bytes for file in files)
    return ArtifactSize(path, "onnx", total, parameters, parameters, 0, files, flags)


def _lies_inside(name: str) -> bool:
    """Tell whether a file name cannot leave the folder that it is joined to."""
    return not os.path.isabs(name) and os.path.normpath(name).split(os.sep)[0] != os.pardir


def _tensors(message: Any) -> Iterator[onnx.TensorProto]:
    """Find every tensor: weights, constants among attributes, all in branches and functions."""
    from google.protobuf.message import Message

    if message.DESCRIPTOR.name == "TensorProto":
        yield message
        return
    for field, value in message.ListFields():
        if field.message_type is not None:
            for each in [value] if isinstance(value, Message) else value:
                yield from _tensors(each)


def _tensor_bytes(tensor: onnx.TensorProto) -> int:
    import onnx

    if tensor.HasField("raw_data"):
        return len(tensor.raw_data)
    element = onnx.helper.tensor_dtype_to_np_dtype(tensor.data_type)
    return math.prod(tensor.dims) * element.itemsize


def _recognizes(look: Look) -> bool:
    # An ONNX file is a protobuf message without a magic number. Its first field, written as tag
    # 0x08, is ir_version: 3 (2017) to 14 today. ONNX Runtime judges the rest. The graph of a
    # SavedModel starts alike, and says by its name what it is.
    tag, version = (*look.start[:2], 0, 0)[:2]
    return tag == 0x08 and 3 <= version < 0x20 and look.path.name != "saved_model.pb"


ONNX = Format(
    kind="onnx",
    title="an ONNX file",
    short=".onnx",
    framework="onnxruntime",
    recognizes=_recognizes,
    load=load_onnx,
    options=("allow_spinning", "optimization"),
    limit_threads=lambda threads: {"intra_op_num_threads": threads},
    contents=_weigh,
    traits=lambda path, size=None: Traits(False, False, False),
)
