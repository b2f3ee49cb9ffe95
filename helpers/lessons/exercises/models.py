"""What the exercises are about: small models, images for them, and ONNX files to judge."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import keras
import numpy as np
from keras import layers

from helpers.lessons import shifted

BATCH_SIZES = (1, 7, 32)
SIZES = "1, 7 and 32"
GREY_LEVELS = 16


def draw_scans() -> np.ndarray:
    """Draw uint8 images `(32, 8, 8)` with values from 0 to 16, as they come from the scanner."""
    random = np.random.default_rng(shifted(2))
    return random.integers(0, GREY_LEVELS + 1, (max(BATCH_SIZES), 8, 8), dtype=np.uint8)


def draw_images() -> np.ndarray:
    """Draw the same images as float32 `(32, 8, 8, 1)`, still with values from 0 to 16."""
    return draw_scans().astype(np.float32)[..., np.newaxis]


# Lesson 1


def build_trained() -> keras.Model:
    """Build a model of four numbers and train it for one step, so that its optimizer has state."""
    keras.utils.set_random_seed(shifted(0))
    model = keras.Sequential([keras.Input((4,), name="x"), layers.Dense(4096), layers.Dense(1)])
    model.compile(optimizer="adam", loss="mean_squared_error")
    model.train_on_batch(np.ones((4, 4), np.float32), np.ones((4, 1), np.float32))
    return model


@keras.saving.register_keras_serializable(package="checks")
class Tripwire(layers.Layer):
    """A layer that notes when a file which contains it is loaded."""

    loads = 0

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Tripwire:
        """Rebuild the layer, and count."""
        cls.loads += 1
        return cls(**config)

    def call(self, inputs: Any) -> Any:
        """Pass the inputs on."""
        return inputs


# Lesson 2


class TraceCounter(layers.Layer):
    """A layer that counts how often Python runs it: once for each trace of a graph."""

    runs = 0

    def call(self, inputs: Any) -> Any:
        """Count, and pass the inputs on."""
        self.runs += 1
        return inputs


def build_linear(
    *first_layers: layers.Layer, image_shape: tuple[int, int, int] = (8, 8, 1)
) -> keras.Sequential:
    """Build a model of images; its dropout shows a call in training mode."""
    probabilities = layers.Dense(10, activation="softmax")
    model = keras.Sequential(
        [
            keras.Input(image_shape, name="image"),
            *first_layers,
            layers.Flatten(),
            layers.Dropout(0.5),
            probabilities,
        ]
    )
    # Weights that no initializer gives again, and a bias that spreads the answers over the digits.
    pixels = math.prod(image_shape)
    kernel = np.random.default_rng(shifted(0)).normal(scale=0.5, size=(pixels, 10))
    probabilities.set_weights([kernel, -kernel.mean(axis=0) * pixels / 2])
    return model


# Lesson 3


def build_classifier(*first_layers: layers.Layer, activation: str = "relu") -> keras.Sequential:
    """Build a model of images; its names say nothing, and its dropout shows a training call."""
    keras.utils.set_random_seed(shifted(0))
    # Strong, so that the answers differ.
    strong = keras.initializers.RandomNormal(stddev=0.4, seed=shifted(0))
    return keras.Sequential(
        [
            keras.Input((8, 8, 1), name="scan"),
            *first_layers,
            layers.Rescaling(1 / GREY_LEVELS, name="rescaling"),
            layers.Flatten(name="flatten"),
            layers.Dense(16, activation=activation, kernel_initializer=strong, name="hidden"),
            layers.Dropout(0.5, seed=shifted(0), name="dropout"),
            layers.Dense(10, activation="softmax", kernel_initializer=strong, name="scores"),
        ]
    )


def build_stubborn() -> keras.Sequential:
    """Build the model of exercise 3: augmentation, rescaling inside, and an exact gelu."""
    turn = layers.RandomRotation(0.1, seed=shifted(0), name="turn")
    return build_classifier(turn, activation="gelu")


def convert_named(model: keras.Model, path: Path) -> None:
    """Convert a model of images with named input and output, as the lesson does."""
    import tensorflow as tf
    import tf2onnx

    image = tf.TensorSpec((None, 8, 8, 1), tf.float32, name="image")
    answer = tf.function(lambda image: {"probabilities": model(image, training=False)})
    tf2onnx.convert.from_function(answer, input_signature=[image], output_path=str(path))


def write_candidates(model: keras.Model, folder: Path) -> dict[str, Path]:
    """Write the files of exercise 2: a sound one, and one with each fault, by its name.

    Args:
        model: what `build_classifier` returns.
        folder: where they go.
    """
    import onnx

    changes: dict[str, Callable[[onnx.ModelProto], object]] = {
        "sound": lambda proto: None,
        "unknown operator": lambda proto: setattr(proto.graph.node[0], "op_type", "Erfc"),
        "other weights": partial(_edit_last_kernel, edit=np.fliplr),
        "fixed batch": _fix_batch,
        "one weight": partial(_edit_last_kernel, edit=partial(nudge_one_weight, model)),
    }
    paths = {name: folder / f"file_{number}.onnx" for number, name in enumerate(changes)}
    convert_named(model, paths["sound"])
    for name, change in changes.items():
        proto = onnx.load(paths["sound"])
        change(proto)
        onnx.save(proto, paths[name])
    return paths


def _fix_batch(proto: Any) -> None:
    for value in (*proto.graph.input, *proto.graph.output):
        value.type.tensor_type.shape.dim[0].dim_value = 1


def _edit_last_kernel(proto: Any, edit: Callable[[np.ndarray], np.ndarray]) -> None:
    from onnx import numpy_helper

    last = next(each for each in proto.graph.initializer if tuple(each.dims) == (16, 10))
    last.CopyFrom(numpy_helper.from_array(edit(numpy_helper.to_array(last)), last.name))


NUDGE = 4e-4
"""How much one wrong weight moves a probability: more than rounding, and too little for a label."""


def nudge_one_weight(model: keras.Model, kernel: np.ndarray) -> np.ndarray:
    """Change one weight of the last layer so that the largest change of a probability is `NUDGE`.

    Args:
        model: what `build_classifier` returns.
        kernel: of its last layer, float32 `(16, 10)`; it is left as it is.

    Returns:
        The changed copy of the kernel.
    """
    images = draw_images()
    hidden = keras.Model(model.inputs, model.get_layer("hidden").output).predict_on_batch(images)
    answers = model.predict_on_batch(images)
    # The derivative of the softmax: how much each weight moves the probability of its class.
    effect = (hidden[:, :, None] * (answers * (1 - answers))[:, None, :]).max(axis=0)
    for place in np.argsort(-effect, axis=None):
        changed = kernel.copy()
        changed.flat[place] += NUDGE / effect.flat[place]
        scores = hidden @ changed + model.get_layer("scores").bias.numpy()
        if np.array_equal(scores.argmax(axis=1), answers.argmax(axis=1)):
            break
    return changed
