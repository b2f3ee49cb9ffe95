"""One model of each family, for the tests and the benchmark of the comparison.

The lessons deploy some of them, and so build them themselves (`helpers.lessons.models`). Those that
no lesson deploys are built here.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
from keras import layers

from helpers.lessons import shifted
from helpers.lessons.models import CLASS_COUNT, build_attention, build_digits_cnn, build_lstm


def build_residual(seed: int = 0) -> keras.Model:
    """Build a Functional model with batch normalization and a residual connection.

    The same input and output as `build_digits_cnn`.
    """
    keras.utils.set_random_seed(shifted(seed))
    image = keras.Input((8, 8, 1), name="image")
    stem = layers.Conv2D(16, 3, padding="same", use_bias=False, name="stem_conv")(image)
    stem = layers.ReLU(name="stem_relu")(layers.BatchNormalization(name="stem_norm")(stem))
    branch = layers.Conv2D(16, 3, padding="same", use_bias=False, name="branch_conv")(stem)
    branch = layers.BatchNormalization(name="branch_norm")(branch)
    joined = layers.ReLU(name="joined_relu")(layers.Add(name="add")([stem, branch]))
    pooled = layers.GlobalAveragePooling2D(name="pool")(joined)
    probabilities = layers.Dense(CLASS_COUNT, activation="softmax", name="probabilities")(pooled)
    return keras.Model(image, probabilities, name="residual")


def build_two_branch(seed: int = 0) -> keras.Model:
    """Build a model with two inputs and two outputs, all of them named.

    Inputs: ``image`` float32 ``(n, 8, 8, 1)`` and ``profile`` float32 ``(n, 8)``, such as the mean
    of each row. Outputs: ``digit`` float32 ``(n, 10)`` probabilities and ``ink`` float32
    ``(n, 1)``.
    """
    keras.utils.set_random_seed(shifted(seed))
    image = keras.Input((8, 8, 1), name="image")
    profile = keras.Input((8,), name="profile")
    seen = layers.Conv2D(8, 3, activation="relu", name="image_conv")(image)
    seen = layers.Flatten(name="image_flatten")(seen)
    known = layers.Dense(8, activation="tanh", name="profile_dense")(profile)
    joined = layers.Concatenate(name="join")([seen, known])
    outputs = {
        "digit": layers.Dense(CLASS_COUNT, activation="softmax", name="digit")(joined),
        "ink": layers.Dense(1, name="ink")(joined),
    }
    return keras.Model({"image": image, "profile": profile}, outputs, name="two_branch")


DIGITS_BUILDERS: dict[str, Callable[..., keras.Model]] = {
    "digits_cnn": build_digits_cnn,
    "residual": build_residual,
    "lstm": build_lstm,
    "attention": build_attention,
}
"""The builders that share the digits' input and output, by model name."""


class WithoutConfig(layers.Layer):
    """A layer that cannot be rebuilt."""

    def __init__(self, units: int) -> None:
        super().__init__()
        self.dense = layers.Dense(units)

    def call(self, x: Any) -> Any:
        """Do what the layer inside does."""
        return self.dense(x)
