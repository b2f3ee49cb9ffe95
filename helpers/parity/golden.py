"""The golden reference: the same model, computed in float64."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from helpers.formats.keras import KerasRuntime, innermost_reason
from helpers.formats.tensors import Arrays, name_arrays
from helpers.parity.compare import as_mapping, is_float
from helpers.parity.golden_rule import GoldenArray
from helpers.parity.graph import GraphRuntime, narrow_operations, noise_of_narrow
from helpers.parity.rebuild import rebuild_in_float64

if TYPE_CHECKING:
    import keras
    import tensorflow as tf

DOUBT_DRAWS = 3


class GoldenError(ValueError):
    """The model cannot be rebuilt in float64."""


def float64_reference(model: keras.Model, inputs: Arrays) -> np.ndarray | dict[str, np.ndarray]:
    """Run a float64 copy of the model: what it would answer with (almost) no rounding error.

    The copy is built from the model's own configuration with every dtype policy set to float64,
    and gets the same weights. The model itself is not touched.

    Where a layer computes in float32 although it was asked for float64, as all that resize
    bilinearly do in TensorFlow, the answers are no better than that. They say so: each array is a
    `GoldenArray` with the names of the layers, and with how far their rounding moves the answers.
    A layer that cannot compute in float64 at all (`MaxPooling3D`) is asked for float32.

    Args:
        model: a model whose configuration rebuilds it; custom layers need `get_config`.
        inputs: as the model takes them.

    Returns:
        float64 outputs: one array, or arrays by output name.

    Raises:
        GoldenError: the configuration does not rebuild the model, or not in float64, or holds code
            that none of the model's `Lambda` layers has as a live function.
        InputError: the inputs do not fit the model.
    """
    feeds = name_arrays(inputs, KerasRuntime(model).inputs)
    wide = [_widened(array) for array in feeds.values()]
    try:
        runtime, outputs = run_in_float64(rebuild_in_float64(model), wide)
    except Exception as error:  # every layer's own code runs here, so any type can come
        if "safe_mode" in str(error):
            raise GoldenError(
                f"'{model.name}' has no float64 run: its configuration holds Python code, and code "
                "that came with a model file is never run here. Build the model in code, load its "
                "weights with model.load_weights(path), and compare with that."
            ) from error
        raise GoldenError(
            f"'{model.name}' cannot be rebuilt and run in float64: {innermost_reason(error)}. "
            "Custom layers need get_config(), and build() for the weights they create. Lookup "
            "layers need their vocabulary as an argument."
        ) from error
    arrays = outputs.values() if isinstance(outputs, Mapping) else [outputs]
    if any(is_float(array) and array.dtype != np.float64 for array in arrays):
        raise GoldenError(
            f"the copy of '{model.name}' in float64 still answers in "
            f"{sorted({str(array.dtype) for array in arrays})}: a layer casts to a fixed dtype. "
            "Compare without a golden run, or make the layer follow its dtype policy."
        )
    if narrow := narrow_operations(runtime.operations):
        return _with_doubt(runtime, wide, outputs, narrow)
    return outputs


def _widened(array: np.ndarray) -> np.ndarray:
    return array.astype(np.float64) if is_float(array) else array


def run_in_float64(
    copy: keras.Model, inputs: Sequence[np.ndarray]
) -> tuple[GraphRuntime, np.ndarray | dict[str, np.ndarray]]:
    """Run a copy in float64; layers that cannot are set to float32, as far as they must be.

    Returns:
        the runtime, and its outputs.

    Raises:
        Exception: whatever a layer's own code raises.
    """
    lowered = False
    while True:
        runtime = GraphRuntime(copy)
        try:
            outputs = runtime(inputs)
            break
        except Exception:
            layer = _failing_layer(copy, inputs)
            if layer is None or layer.compute_dtype != "float64":
                raise
            layer.dtype_policy = "float32"
            lowered = True
    if lowered:  # the last layer may be one of them
        arrays = {name: _widened(array) for name, array in as_mapping(outputs).items()}
        outputs = arrays if isinstance(outputs, Mapping) else next(iter(arrays.values()))
    return runtime, outputs


def _failing_layer(copy: keras.Model, inputs: Sequence[np.ndarray]) -> keras.layers.Layer | None:
    """Run the copy once more and return the innermost layer whose code raises."""
    failed: list[keras.layers.Layer] = []

    def watched(layer: keras.layers.Layer, call: Callable[..., Any]) -> Callable[..., Any]:
        def wrapper(*arguments: Any, **options: Any) -> Any:
            try:
                return call(*arguments, **options)
            except Exception:
                failed.append(layer)
                raise

        return wrapper

    layers = list(copy._flatten_layers(include_self=False))
    for layer in layers:
        object.__setattr__(layer, "call", watched(layer, layer.call))  # Keras tracks no function
    try:
        GraphRuntime(copy)(inputs)
    except Exception:
        return failed[0] if failed else None
    finally:
        for layer in layers:
            object.__delattr__(layer, "call")
    return None


def _with_doubt(
    runtime: GraphRuntime,
    inputs: Sequence[np.ndarray],
    outputs: np.ndarray | dict[str, np.ndarray],
    narrow: Sequence[tf.Operation],
) -> np.ndarray | dict[str, np.ndarray]:
    """Measure how far the rounding of the narrow operations moves the answers, and note it."""
    model = runtime.keras_model
    found = [_layer_of(each.name, model) for each in narrow]
    # The input of a layer that was set to float32 is cast on its way in, outside of the layer.
    lowered = [x.name for x in model._flatten_layers() if x.compute_dtype == "float32"]
    names = tuple(dict.fromkeys(filter(None, [*lowered, *found]))) or (narrow[0].name,)
    runtime.add_noise({each.name: noise_of_narrow for each in narrow})
    draws = [as_mapping(runtime(inputs)) for _ in range(DOUBT_DRAWS)]
    doubted = {}
    for name, array in as_mapping(outputs).items():
        doubted[name] = array
        if is_float(array):
            moved = [np.square(draw[name].astype(np.float64) - array) for draw in draws]
            doubted[name] = GoldenArray.of(array, names, np.sqrt(np.mean(moved, axis=(0, 1))))
    return doubted if isinstance(outputs, Mapping) else next(iter(doubted.values()))


def _layer_of(path: str, model: keras.Model) -> str:
    """Name the innermost layer on an operation's path; nothing when there is none.

    TensorFlow adds a number to each part, so the last number is taken off first.
    """
    known = {layer.name for layer in model._flatten_layers(include_self=False)}
    for part in reversed(path.split("/")[:-1]):
        if found := next((x for x in (part.rpartition("_")[0], part) if x in known), ""):
            return found
    return ""
