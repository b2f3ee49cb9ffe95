"""The models and the ONNX files that the exercises of lesson 3 are about."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np

from helpers.lessons.seeds import shifted

GREY_LEVELS = 16
ROWS = 32


def draw_images() -> np.ndarray:
    """Draw float32 images `(32, 8, 8, 1)` with grey levels from 0 to 16."""
    levels = np.random.default_rng(shifted(3)).integers(0, GREY_LEVELS + 1, (ROWS, 8, 8, 1))
    return levels.astype(np.float32)


def build_classifier(
    *first_layers: keras.layers.Layer, activation: str = "relu"
) -> keras.Sequential:
    """Build a model of images; its names say nothing, and its dropout shows a training call."""
    keras.utils.set_random_seed(shifted(0))
    # Strong, so that the answers differ.
    strong = keras.initializers.RandomNormal(stddev=0.4, seed=shifted(0))
    layers = keras.layers
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


def build_stubborn_model() -> keras.Sequential:
    """Build the model of exercise 3: augmentation, rescaling inside, and an exact gelu."""
    turn = keras.layers.RandomRotation(0.1, seed=shifted(0), name="turn")
    return build_classifier(turn, activation="gelu")


def convert_named(model: keras.Model, path: Path) -> None:
    """Convert a model of images with named input and output, as the lesson does."""
    import tensorflow as tf
    import tf2onnx

    image = tf.TensorSpec((None, 8, 8, 1), tf.float32, name="image")
    answer = tf.function(lambda image: {"probabilities": model(image, training=False)})
    tf2onnx.convert.from_function(answer, input_signature=[image], output_path=str(path))


CANDIDATES = ("sound", "unknown operator", "other weights", "fixed batch", "one weight")
"""The files of exercise 2. Only the first one may be shipped."""


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


def write_candidates(model: keras.Model, folder: Path) -> dict[str, Path]:
    """Write the files of exercise 2, each with the fault that its name tells."""
    import onnx
    from onnx import numpy_helper

    paths = {name: folder / f"file_{number}.onnx" for number, name in enumerate(CANDIDATES)}
    convert_named(model, paths["sound"])

    def write(name: str, change: Callable[[Any], object]) -> None:
        proto = onnx.load(paths["sound"])
        change(proto)
        onnx.save(proto, paths[name])

    def change_weights(proto: Any, edit: Callable[[np.ndarray], np.ndarray]) -> None:
        last = next(each for each in proto.graph.initializer if tuple(each.dims) == (16, 10))
        values = numpy_helper.to_array(last).copy()
        last.CopyFrom(numpy_helper.from_array(edit(values), last.name))

    def fix_batch(proto: Any) -> None:
        for value in (*proto.graph.input, *proto.graph.output):
            value.type.tensor_type.shape.dim[0].dim_value = 1

    write("unknown operator", lambda proto: setattr(proto.graph.node[0], "op_type", "Erfc"))
    write("other weights", lambda proto: change_weights(proto, lambda values: values[:, ::-1]))
    write(
        "one weight",
        lambda proto: change_weights(proto, lambda kernel: nudge_one_weight(model, kernel)),
    )
    write("fixed batch", fix_batch)
    return paths
