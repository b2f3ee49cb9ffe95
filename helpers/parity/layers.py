"""Which layer of an ONNX file computes something else than the Keras model? Compare layer by layer.

The outputs of all layers are compared with the tensors of the file that carry their names, by the
golden rule of `helpers.parity`. How a tensor is chosen, so that no fault can hide:

1. By name. Of the tensors that carry a layer's name, its output is the last one of the layer's
   shape. Convolutions in ONNX put the channels first; of two possible readings of one tensor, the
   closer one counts. A mixed-up layout then shows at the next layer that leaves it.
2. Values are never searched for elsewhere in the file. But a layer is not at fault when every
   layer that takes its output is right: the converter moved work between them, as it does when
   it multiplies the scale of a batch normalization into the step before. Its row says "absorbed".
3. A layer without a tensor (folded into another one, or without effect in inference, as dropout)
   is listed as "not in the file". A fault in it shows at the next layer, whose row names it.

A nested model counts as one layer.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from helpers.formats import KerasRuntime, load_onnx
from helpers.formats.identify import ArtifactError
from helpers.formats.tensors import Arrays, InputError, name_arrays, rename_arrays
from helpers.parity.compare import as_mapping, is_float
from helpers.parity.golden import float64_reference
from helpers.parity.golden_rule import error_ratio
from helpers.parity.layer_graphs import Step, keras_steps, tensors_by_step
from helpers.parity.layer_report import LayerComparison, LayerReport, shortened

if TYPE_CHECKING:
    import keras

LAYER_FACTOR = 4.0
"""How many times the source's own rounding error a layer of a faithful file may have."""


def compare_layers(
    keras_model: keras.Model,
    onnx_path: str | Path,
    inputs: Arrays,
    *,
    factor: float = LAYER_FACTOR,
) -> LayerReport:
    """Compare every layer of a model with its counterpart in an ONNX file.

    Args:
        keras_model: Sequential or Functional, with the layer names that it had when converted.
        onnx_path: what a TensorFlow converter made of it: `model.export` or tf2onnx.
        inputs: as the Keras model takes them. All layers' outputs are held in memory, in float32
            and in float64, so a few rows are enough for a large model.
        factor: a layer diverged when its error against a float64 run of the model exceeds this
            multiple of the error that the Keras layer has itself (see `error_ratio`), or is NaN.
            Rounding that builds up in a deep model is in both, so it raises no alarm.

    Raises:
        ArtifactError: the file is damaged or of another kind, or cannot run on these inputs.
        GoldenError: see `float64_reference`.
        InputError: the inputs do not fit the model, or the model has no graph of layers.
        ValueError: no tensor of the file carries the name of a layer.
    """
    source = KerasRuntime(keras_model)
    feeds = name_arrays(inputs, source.inputs)
    if not all(array.size for array in feeds.values()):
        raise InputError("the inputs have no rows. Give at least one.")
    with load_onnx(onnx_path) as candidate:
        renamed = rename_arrays(feeds, source.inputs, candidate.inputs)
    steps = keras_steps(keras_model)
    tensors = _run_file(Path(onnx_path), steps, keras_model.name, renamed)
    outputs = _run_layers(keras_model, steps, feeds)
    rows = {
        step.name: _match(step, tensors.get(step.name, {}), outputs[step.name]) for step in steps
    }
    values = {**feeds, **{name: plain for name, (plain, _) in outputs.items()}}
    rows = {step.name: _with_idle_units(rows[step.name], step, values) for step in steps}
    if not any(row.compared for row in rows.values()):
        raise ValueError(
            f"{onnx_path}: no tensor carries the name of a layer of '{keras_model.name}' and has "
            f"its shape (layers: {shortened([step.layer for step in steps])}). Give the model "
            "that was converted, or convert it again: layer names must be the same."
        )
    return LayerReport(tuple(_judge(steps, rows, factor)))


def _run_file(
    path: Path, steps: list[Step], model_name: str, feeds: Mapping[str, np.ndarray]
) -> dict[str, dict[str, np.ndarray]]:
    """Run the file once and return the values of each step's tensors.

    Without the runtime's optimizations: they would fuse nodes, and the file is to be judged as it
    is written. What they change is for `check_parity` to find.
    """
    import onnx
    import onnxruntime

    model = onnx.load(path)
    tensors = tensors_by_step(model.graph, steps, model_name)
    known = {output.name for output in model.graph.output}
    wanted = [name for names in tensors.values() for name in names]
    if not wanted:
        return {}
    model.graph.output.extend(
        onnx.ValueInfoProto(name=name) for name in wanted if name not in known
    )
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.intra_op_num_threads = 1
    options.log_severity_level = 3
    try:
        session = onnxruntime.InferenceSession(
            model.SerializeToString(), options, providers=["CPUExecutionProvider"]
        )
        values = dict(zip(wanted, session.run(wanted, dict(feeds)), strict=True))
    except Exception as error:  # ONNX Runtime's error types share no base class
        message = " ".join(str(error).split())
        remedy = "Convert the model again, and try the file with check_parity."
        raise ArtifactError(path, f"ONNX Runtime cannot run it ({message})", remedy) from error
    return {step: {name: values[name] for name in names} for step, names in tensors.items()}


def _run_layers(
    model: keras.Model, steps: list[Step], feeds: dict[str, np.ndarray]
) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Return each step's output in the model's own precision and in float64."""
    import keras

    inputs = model.inputs[0] if isinstance(model, keras.Sequential) else model.input
    layers = keras.Model(inputs, {step.name: step.outputs[0] for step in steps}, name=model.name)
    arrays = list(feeds.values())
    exact = as_mapping(float64_reference(layers, arrays))
    plain = as_mapping(KerasRuntime(layers)(arrays))
    if len(steps) == 1:  # a single output has no name
        return {steps[0].name: (*plain.values(), *exact.values())}
    return {step.name: (plain[step.name], exact[step.name]) for step in steps}


def _match(
    step: Step, tensors: Mapping[str, np.ndarray], output: tuple[np.ndarray, np.ndarray]
) -> LayerComparison:
    """Choose the step's tensor by name and shape, and measure its error."""
    row = LayerComparison(step.name, step.kind, None, output[0].shape)
    if len(step.outputs) > 1:
        return replace(row, status="several outputs")
    measured = (_measure(row, name, array, output) for name, array in reversed(tensors.items()))
    return next(filter(None, measured), row)


def _with_idle_units(
    row: LayerComparison, step: Step, values: Mapping[str, np.ndarray]
) -> LayerComparison:
    """Count the units that the step's weights read, and those of them that are 0 in all rows."""
    read = [values[name] for name in step.reads if name in values and is_float(values[name])]
    idle = [np.all(array == 0, axis=tuple(range(array.ndim - 1))) for array in read]
    return replace(
        row,
        read_units=sum(array.shape[-1] for array in read),
        idle_units=int(sum(each.sum() for each in idle)),
    )


def _measure(
    row: LayerComparison, name: str, array: np.ndarray, output: tuple[np.ndarray, np.ndarray]
) -> LayerComparison | None:
    """Measure the error of a tensor in its closest layout; None when its shape cannot fit."""
    expected, golden = output
    layouts = [array]
    if array.ndim > 2:
        layouts.append(np.moveaxis(array, 1, -1))
    found = []
    for given in layouts:
        if given.shape != expected.shape:
            continue
        if is_float(expected) and is_float(given):
            wide = given.astype(np.float64), expected.astype(np.float64)
            ratio = error_ratio(*wide, golden)
            difference = float(np.abs(wide[0] - wide[1]).max())
        else:  # integers and text have no rounding
            ratio = 1.0 if np.array_equal(given, expected) else float("inf")
            difference = 0.0 if ratio == 1.0 else float("nan")
        found.append(replace(row, tensor=name, max_abs=difference, error_ratio=ratio))
    return min(found, key=lambda each: each.error_ratio, default=None)


def _judge(
    steps: list[Step], rows: Mapping[str, LayerComparison], factor: float
) -> list[LayerComparison]:
    """Set each row's status: a layer is to blame when its output is wrong and its inputs right."""
    harmless = _harmless(steps, rows, factor)
    judged: list[LayerComparison] = []
    tainted: set[str] = set()
    unseen: dict[str, tuple[str, ...]] = {}
    for step in steps:
        row = rows[step.name]
        inherits = any(parent in tainted for parent in step.parents)
        includes = tuple(dict.fromkeys(x for p in step.parents for x in unseen.get(p, ())))
        if not row.compared:
            unseen[step.name] = (*includes, step.name)
        elif row.error_ratio <= factor:
            row = replace(row, status="same", includes=includes)
        elif step.name in harmless:
            unseen[step.name] = (*includes, step.name)
            row = replace(row, status="absorbed", includes=includes)
        else:
            row = replace(row, status="inherited" if inherits else "diverged", includes=includes)
        if row.diverged or (inherits and not row.compared):
            tainted.add(step.name)
        judged.append(row)
    return judged


def _harmless(steps: list[Step], rows: Mapping[str, LayerComparison], factor: float) -> set[str]:
    """Name the steps that are right, or that lead only to steps that are."""
    harmless: set[str] = set()
    for step in reversed(steps):
        takers = [each.name for each in steps if step.name in each.parents]
        harmless_by_effect = not step.exposed and takers and harmless.issuperset(takers)
        if rows[step.name].error_ratio <= factor or harmless_by_effect:
            harmless.add(step.name)
    return harmless
