"""The golden reference: the same model, computed in float64."""

from __future__ import annotations

import tempfile
import types
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from helpers.formats.keras import KerasRuntime, innermost_reason
from helpers.formats.tensors import Arrays, name_arrays
from helpers.parity.compare import is_float

if TYPE_CHECKING:
    import keras

LOW_PRECISIONS = ("float32", "float16", "bfloat16", "mixed_float16", "mixed_bfloat16")


class GoldenError(ValueError):
    """The model cannot be rebuilt in float64."""


def float64_reference(model: keras.Model, inputs: Arrays) -> np.ndarray | dict[str, np.ndarray]:
    """Run a float64 copy of the model: what it would answer with (almost) no rounding error.

    The copy is built from the model's own configuration with every dtype policy set to float64,
    and gets the same weights. The model itself is not touched.

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
        outputs = KerasRuntime(_rebuild_in_float64(model))(wide)
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
    return outputs


def _widened(array: np.ndarray) -> np.ndarray:
    return array.astype(np.float64) if is_float(array) else array


def _rebuild_in_float64(model: keras.Model) -> keras.Model:
    import keras

    live_layers = list(model._flatten_layers())
    known: dict[str, Any] = {type(layer).__name__: type(layer) for layer in live_layers}
    known |= {f"function {number}": each for number, each in enumerate(_lambdas_of(live_layers))}
    config = _with_float64(_without_code(keras.saving.serialize_keras_object(model), known))
    # Layers that a subclass creates in its own __init__ follow the global policy, not the config.
    previous = keras.config.dtype_policy()
    keras.config.set_dtype_policy("float64")
    try:
        # In safe mode, on every path: text that came with a model file must never become code.
        copy = keras.saving.deserialize_keras_object(config, known, safe_mode=True)
    finally:
        keras.config.set_dtype_policy(previous)
    # By file and not by set_weights: a Normalization layer computes its factors when it loads.
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "copy.weights.h5"
        model.save_weights(path)
        copy.load_weights(path)
    return copy


def _lambdas_of(live_layers: list[keras.layers.Layer]) -> list[Callable[..., Any]]:
    """List the Python lambdas that `Lambda` layers hold, as live functions."""
    import keras

    lambdas = [layer for layer in live_layers if isinstance(layer, keras.layers.Lambda)]
    values = [value for layer in lambdas for value in vars(layer).values()]
    return [
        value
        for value in values
        if isinstance(value, types.FunctionType) and value.__name__ == "<lambda>"
    ]


def _without_code(config: Any, known: Mapping[str, Any]) -> Any:
    """Put the names of live functions in the place of their code, so that no code is loaded.

    Code that belongs to no live function stays as it is, and safe mode refuses it: a file can hide
    such text where Keras does not look when it opens the file.
    """
    import keras

    def code_of(function: Callable[..., Any]) -> Any:
        return keras.saving.serialize_keras_object(
            keras.layers.Lambda(function).get_config()["function"]
        )

    codes = {
        name: code_of(each) for name, each in known.items() if isinstance(each, types.FunctionType)
    }

    def replaced(part: Any) -> Any:
        if isinstance(part, Mapping):
            if part.get("class_name") == "__lambda__":
                return next((name for name, code in codes.items() if code == part), part)
            return {key: replaced(value) for key, value in part.items()}
        if isinstance(part, list | tuple):
            return type(part)(replaced(value) for value in part)
        return part

    return replaced(config)


def _with_float64(config: Any) -> Any:
    """Copy a serialized configuration, not compiled, with every floating dtype as float64."""
    if isinstance(config, Mapping):
        if config.get("class_name") == "DTypePolicy" and config["config"]["name"] in LOW_PRECISIONS:
            return {**config, "config": {**config["config"], "name": "float64"}}
        return {
            key: "float64" if key == "dtype" and value in LOW_PRECISIONS else _with_float64(value)
            for key, value in config.items()
            if key != "compile_config"  # a nested model has its own
        }
    if isinstance(config, list | tuple):
        return type(config)(_with_float64(value) for value in config)
    return config
