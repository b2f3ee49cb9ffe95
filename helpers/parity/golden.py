"""The golden reference: the same model, computed in float64."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from helpers.parity.compare import is_float
from helpers.runtimes.keras_runtime import KerasRuntime, innermost_reason
from helpers.tensors import Arrays, name_arrays

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
        GoldenError: the configuration does not rebuild the model, or not in float64.
        InputError: the inputs do not fit the model.
    """
    feeds = name_arrays(inputs, KerasRuntime(model).inputs)
    wide = [_widened(array) for array in feeds.values()]
    try:
        outputs = KerasRuntime(_rebuild_in_float64(model))(wide)
    except Exception as error:  # every layer's own code runs here, so any type can come
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

    config = _with_float64(keras.saving.serialize_keras_object(model))
    # The model lives in this process already, so its own code is known, and as trusted as it was.
    classes = {type(layer).__name__: type(layer) for layer in model._flatten_layers()}
    # Layers that a subclass creates in its own __init__ follow the global policy, not the config.
    previous = keras.config.dtype_policy()
    keras.config.set_dtype_policy("float64")
    try:
        copy = keras.saving.deserialize_keras_object(config, classes, safe_mode=False)
    finally:
        keras.config.set_dtype_policy(previous)
    # By file and not by set_weights: a Normalization layer computes its factors when it loads.
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "copy.weights.h5"
        model.save_weights(path)
        copy.load_weights(path)
    return copy


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
