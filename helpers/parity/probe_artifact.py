"""Can these inputs show a fault in an artifact that is no Keras model? Damage it, and see."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from helpers.formats import KerasRuntime, Runtime, identify, load_onnx, load_saved_model
from helpers.formats.keras import load_keras
from helpers.formats.tensors import Arrays, name_arrays
from helpers.parity.compare import as_mapping, compare_outputs
from helpers.parity.probe import ProbeError, ProbeReport, check_probe, refuse_one_answer, spread_out
from helpers.parity.spread import measure_spread

NUMBERS = ("float16", "float32", "float64", "int8", "uint8")
"""Dtypes of weights, quantized ones too; whole numbers of more bits are places and shapes."""


def check_artifact_probe(path: str | Path, inputs: Arrays) -> ProbeReport:
    """Prove that a comparison with this artifact as the reference can fail on `inputs`.

    A Keras file goes through `check_probe`. For others there is no golden run, so a single wrong
    weight may well pass as rounding, and less is asked: in up to eight weight tensors of the
    artifact, spread from the first to the last, *all* weights are set to zero, one tensor at a
    time. Each damaged artifact must fail the comparison with the sound one. The files are only
    read.

    Args:
        path: of a ``.keras``, ``.h5`` or ``.onnx`` file, or of a SavedModel folder.
        inputs: as the artifact takes them.

    Raises:
        ArtifactError: the artifact cannot be opened.
        ProbeError: all rows get the same answer, an answer is NaN or infinite, there is no weight
            to damage, or a damage goes unnoticed: on these inputs, parity proves nothing.
        GoldenError: see `float64_reference`.
        InputError: the inputs do not fit the artifact.
    """
    path, kind = Path(path), identify(path)
    if kind in ("keras", "h5"):
        with load_keras(path) as runtime:
            assert isinstance(runtime, KerasRuntime)
            return check_probe(runtime.model, inputs)
    with load_onnx(path) if kind == "onnx" else load_saved_model(path) as sound:
        feeds = name_arrays(inputs, sound.inputs)
        answers = as_mapping(sound(feeds))
        refuse_one_answer(answers)
        if not (report := compare_outputs(answers, answers)).passed:
            raise ProbeError(f"the sound artifact itself fails: {'; '.join(report.findings)}.")
        rows = len(next(iter(feeds.values())))
        spread = measure_spread(sound, feeds, rows)
        damaged = _damaged_onnx(path) if kind == "onnx" else _damaged_saved_model(path)
        noticed, unnoticed = [], []
        for name, runtime in damaged:
            passed = compare_outputs(as_mapping(runtime(feeds)), answers, spread=spread).passed
            (unnoticed if passed else noticed).append(name)
    if not (noticed or unnoticed):
        raise ProbeError(f"'{path.name}' has no weight tensor of two axes or more to damage.")
    if unnoticed:
        raise ProbeError(
            f"a damaged artifact passes on these {rows} rows: all weights of "
            f"{', '.join(unnoticed)} can be set to zero without notice. "
            "Use more, and more varied, inputs: real ones if you have them."
        )
    return ProbeReport(rows, tuple(noticed), whole=True)


def _damaged_onnx(path: Path) -> Iterator[tuple[str, Runtime]]:
    """Write the file once for each tensor, with that tensor replaced by zeros, and open it."""
    import onnx
    from onnx import numpy_helper

    model = onnx.load(path)
    tensors = [each for each in model.graph.initializer if len(each.dims) >= 2]
    usable = [each for each in tensors if _is_weight(numpy_helper.to_array(each))]
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder, "damaged.onnx")
        for tensor in spread_out(usable):
            sound = onnx.TensorProto()
            sound.CopyFrom(tensor)
            zeros = np.zeros_like(numpy_helper.to_array(tensor))
            tensor.CopyFrom(numpy_helper.from_array(zeros, tensor.name))
            onnx.save(model, copy)
            tensor.CopyFrom(sound)
            with load_onnx(copy) as runtime:
                yield tensor.name, runtime


def _damaged_saved_model(path: Path) -> Iterator[tuple[str, Runtime]]:
    """Open the folder once, set one variable after the other to zero, and put it back."""
    with load_saved_model(path) as runtime:
        variables = runtime._model[1].variables
        usable = [each for each in variables if _is_weight(each.numpy())]
        for variable in spread_out(usable):
            value = variable.numpy()
            variable.assign(np.zeros_like(value))
            yield variable.name, runtime
            variable.assign(value)


def _is_weight(array: np.ndarray) -> bool:
    """Leave out what is no weight, and what is zero anyway."""
    return array.ndim >= 2 and array.size > 1 and array.dtype.name in NUMBERS and bool(array.any())
