"""Faults in what the layers compute."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
import numpy as np
from keras import layers

from helpers.formats import KerasRuntime, Runtime
from parity_faults.case import Case, Fault


def rebuilt(
    change: Callable[[layers.Layer, dict[str, Any]], layers.Layer | bool], why: str
) -> Fault:
    """Build the model with changed layers and the same weights.

    The change edits a layer's configuration and returns True, or gives a new layer, or False.
    """

    def plant(case: Case) -> Runtime | str:
        changed = []

        def clone(layer: layers.Layer) -> layers.Layer:
            config = layer.get_config()
            if result := change(layer, config):
                changed.append(layer.name)
            return result if isinstance(result, layers.Layer) else type(layer).from_config(config)

        copy = keras.models.clone_model(case.model, clone_function=clone)
        if not changed:
            return why
        copy.set_weights(case.model.get_weights())
        return KerasRuntime(copy)

    return plant


def setting(name: str, before: Any, after: Any, kind: str = "") -> Fault:
    """Change one setting of all layers (of a kind) that have it at one value."""

    def change(layer: layers.Layer, config: dict[str, Any]) -> bool:
        found = kind in type(layer).__name__ and name in config and config[name] == before
        if found:
            config[name] = after
        return found

    return rebuilt(change, f"no {kind or 'layer'} with {name} {before}")


@keras.saving.register_keras_serializable(package="faults")
class ShiftedConv2D(layers.Conv2D):
    """A convolution that pads on the wrong side: off by one pixel."""

    def call(self, x: Any) -> Any:
        """Pad at the start only; same result shape."""
        rows, columns = self.kernel_size
        padded = keras.ops.pad(x, [(0, 0), (rows - 1, 0), (columns - 1, 0), (0, 0)])
        answer = keras.ops.conv(padded, self.kernel, strides=self.strides, padding="valid")
        return self.activation(answer + self.bias if self.use_bias else answer)


def shift_padding(layer: layers.Layer, config: dict[str, Any]) -> layers.Layer | bool:
    """Replace convolutions with `same` padding."""
    if type(layer) is layers.Conv2D and layer.padding == "same" and layer.kernel_size[0] > 1:
        return ShiftedConv2D.from_config(config)
    return False


class MaxOverRows(layers.GlobalAveragePooling1D):
    """The maximum, called as the average is."""

    def call(self, x: Any, mask: Any = None) -> Any:
        """Return the maximum over axis 1."""
        return keras.ops.max(x, axis=1)


POOLS = {
    "MaxPooling2D": layers.AveragePooling2D,
    "GlobalAveragePooling2D": layers.GlobalMaxPooling2D,
    "GlobalAveragePooling1D": MaxOverRows,
}


def other_pool(layer: layers.Layer, config: dict[str, Any]) -> layers.Layer | bool:
    """Exchange average and maximum."""
    new = POOLS.get(type(layer).__name__)
    return new.from_config(config) if new else False


class TrainingMode(Runtime):
    """A model that is called as in training: dropout drops, batch norm uses the batch."""

    def __init__(self, model: keras.Model) -> None:
        sound = KerasRuntime(model)
        self._model = model
        super().__init__("faulty", sound.inputs, sound.outputs)

    def _run(self, feeds: dict[str, np.ndarray]) -> list[np.ndarray]:
        return [np.asarray(self._model(*feeds.values(), training=True))]


def training_mode(kind: str) -> Fault:
    """Call the model with training=True, where it has layers of a kind that notice."""

    def plant(case: Case) -> Runtime | str:
        if not any(kind in type(layer).__name__ for layer in case.model.layers):
            return f"no {kind}"
        copy = keras.models.clone_model(case.model)
        copy.set_weights(case.model.get_weights())
        return TrainingMode(copy)

    return plant
