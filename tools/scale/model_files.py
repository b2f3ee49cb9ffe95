"""Train the model of the lessons, and write lesson 2's two versions as SavedModel and as ONNX.

Run it in the lessons' environment: ``python -m tools.scale.model_files FOLDER``. It writes
``FOLDER/digits/VERSION/`` with a SavedModel and ``model.onnx`` beside it. ``FOLDER/answers.npz``
gets raw test images and the answers that Keras itself gives for them.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from helpers.imports import quiet_import

if TYPE_CHECKING:
    import keras

MODEL = "digits"
ANSWERS = "answers.npz"
ONNX_FILE = "model.onnx"


def write_model_files(folder: Path) -> None:
    """Write both versions and the answers that are right.

    Args:
        folder: exists; receives about 0.6 MB.
    """
    os.environ["KERAS_BACKEND"] = "tensorflow"
    with quiet_import():
        import keras  # noqa: F401
    from helpers.lessons.digits import load_digits
    from helpers.lessons.models import build_digits_cnn, train

    digits = load_digits()
    model = build_digits_cnn()
    train(model, digits)
    raw_images = np.round(digits.test_images[..., 0] * 16).astype(np.uint8)
    sure = model.predict_on_batch(digits.test_images)
    calm = np.sqrt(sure)
    answers = {"1": sure, "2": calm / calm.sum(axis=1, keepdims=True)}
    for version, endpoint in _endpoints(model).items():
        _write_version(model, endpoint, folder / MODEL / version)
    np.savez(folder / ANSWERS, images=raw_images, labels=digits.test_labels, **answers)


def _endpoints(model: keras.Model) -> dict[str, Callable[[Any], dict[str, Any]]]:
    """Write down lesson 2's two functions: raw images in, a class and its probabilities out."""
    import tensorflow as tf

    def read_digits(images: Any) -> dict[str, Any]:
        images = tf.ensure_shape(images, (None, 8, 8))
        grey_levels = tf.cast(images, tf.float32)[..., tf.newaxis] / 16.0
        probabilities = model(grey_levels, training=False)
        return {"class": tf.argmax(probabilities, axis=-1), "probabilities": probabilities}

    def read_digits_calmly(images: Any) -> dict[str, Any]:
        answer = read_digits(images)
        calmer = tf.sqrt(answer["probabilities"])
        total = tf.reduce_sum(calmer, axis=-1, keepdims=True)
        return {"class": answer["class"], "probabilities": calmer / total}

    return {"1": read_digits, "2": read_digits_calmly}


def _write_version(
    model: keras.Model, endpoint: Callable[[Any], dict[str, Any]], folder: Path
) -> None:
    import keras
    import tensorflow as tf
    import tf2onnx

    signature = [tf.TensorSpec((None, 8, 8), tf.uint8, name="images")]
    archive = keras.export.ExportArchive()
    archive.add_endpoint("serve", endpoint, signature)
    archive.write_out(str(folder), verbose=False)
    tf2onnx.convert.from_function(
        tf.function(endpoint, input_signature=signature),
        input_signature=signature,
        output_path=str(folder / ONNX_FILE),
    )


if __name__ == "__main__":
    write_model_files(Path(sys.argv[1]))
