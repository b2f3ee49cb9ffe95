"""Build a model a second time, in float64, from its own configuration and weights."""

from __future__ import annotations

import tempfile
import types
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import keras

LOW_PRECISIONS = ("float32", "float16", "bfloat16", "mixed_float16", "mixed_bfloat16")


def rebuild_in_float64(model: keras.Model) -> keras.Model:
    """Return a copy of the model that computes in float64. The model itself is not touched.

    Raises:
        Exception: whatever a layer's own code raises when its configuration does not rebuild it.
    """
    import keras

    live_layers = list(model._flatten_layers())
    # Layers of Keras are found by their module. Under their plain names, which operators share
    # (`Multiply()` and `a * b`), they would be taken for the operators.
    classes = {type(layer) for layer in live_layers if not _is_of_keras(type(layer))}
    known: dict[str, Any] = {_full_name(each): each for each in classes}
    known |= {f"function {number}": each for number, each in enumerate(_lambdas_of(live_layers))}
    config = _with_float64(_with_names(keras.saving.serialize_keras_object(model), known))
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


def _is_of_keras(kind: type) -> bool:
    return kind.__module__.partition(".")[0] == "keras"


def _full_name(kind: type) -> str:
    return f"{kind.__module__}.{kind.__name__}"


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


def _with_names(config: Any, known: Mapping[str, Any]) -> Any:
    """Name the live classes and functions in a configuration, so that no code is loaded.

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
            named = {key: replaced(value) for key, value in part.items()}
            if (name := f"{part.get('module')}.{part.get('class_name')}") in known:
                named["registered_name"] = name
            return named
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
