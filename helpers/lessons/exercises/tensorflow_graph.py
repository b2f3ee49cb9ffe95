"""Checks for the exercises of lesson 2."""

from __future__ import annotations

import math
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from helpers.formats.runtime import Runtime
from helpers.lessons.exercises.endpoints import ask_without_keras, open_endpoint, require_input
from helpers.lessons.exercises.feedback import Feedback, NotYet, call_answer, give_feedback, shorten
from helpers.lessons.seeds import shifted

BATCH_SIZES = (1, 7, 32)
GREY_LEVELS = 16
DIGITS_SHAPE = (8, 8, 1)
OTHER_SHAPE = (6, 9, 3)
"""Of colour images: a signature of the lesson does not fit them."""
TOLERANCE = 1e-5
"""Probabilities of a graph and of its source differ by rounding, which is about 1e-7."""


class TraceCounter(keras.layers.Layer):
    """A layer that counts how often Python runs it: once for each trace of a graph."""

    def __init__(self) -> None:
        super().__init__(name="trace_counter")
        self.runs = 0

    def call(self, inputs: Any) -> Any:
        """Count, and pass the inputs on."""
        self.runs += 1
        return inputs


def _small_model(
    *first_layers: keras.layers.Layer, image_shape: tuple[int, int, int] = DIGITS_SHAPE
) -> keras.Sequential:
    """Build a model of images; its dropout shows a call in training mode."""
    probabilities = keras.layers.Dense(10, activation="softmax")
    model = keras.Sequential(
        [
            keras.Input(image_shape, name="image"),
            *first_layers,
            keras.layers.Flatten(),
            keras.layers.Dropout(0.5),
            probabilities,
        ]
    )
    # Weights that no initializer gives again, and a bias that spreads the answers over the digits.
    pixels = math.prod(image_shape)
    kernel = np.random.default_rng(shifted(0)).normal(scale=0.5, size=(pixels, 10))
    probabilities.set_weights([kernel, -kernel.mean(axis=0) * pixels / 2])
    return model


def _raw_images() -> np.ndarray:
    """Draw uint8 images `(32, 8, 8)` with values from 0 to 16, as they come from the scanner."""
    random = np.random.default_rng(shifted(2))
    return random.integers(0, GREY_LEVELS + 1, (max(BATCH_SIZES), 8, 8), dtype=np.uint8)


def _differ(found: np.ndarray, expected: np.ndarray) -> bool:
    return not np.allclose(found, expected, rtol=0, atol=TOLERANCE)


def check_make_function(function: Callable[[keras.Model], Any]) -> Feedback:
    """Check exercise 1: `function(model)` returns a function that is traced once in its life."""
    return give_feedback(lambda: _make_function(function))


def _make_function(function: Callable[[keras.Model], Any]) -> str:
    counter = TraceCounter()
    model = _small_model(counter, image_shape=OTHER_SHAPE)
    images = np.random.default_rng(shifted(2)).random(
        (max(BATCH_SIZES), *OTHER_SHAPE), dtype=np.float32
    )
    expected = model.predict_on_batch(images)
    runs_before = counter.runs
    traced = call_answer(function, model)
    if not callable(traced):
        raise NotYet(f"it returned {type(traced).__name__}. It must return a function.")
    sizes = [size for size in BATCH_SIZES for _ in range(2)]
    for size in sizes:
        if _differ(_ask(traced, images[:size]), expected[:size]):
            raise NotYet(
                "the answers are not those that the model gives in use. What do layers such as "
                "Dropout need to know?"
            )
    runs = counter.runs - runs_before
    if runs == len(sizes):
        raise NotYet(
            f"Python ran the layers in each of {runs} calls: the function is no graph, it is "
            "computed layer by layer."
        )
    if runs != 1:
        raise NotYet(
            f"it was traced {runs} times for the batch sizes {_listed(BATCH_SIZES)}. A new shape "
            "made a new graph. What does the function know of its input before the first call?"
        )
    return f"one trace serves the batch sizes {_listed(BATCH_SIZES)}."


def _ask(traced: Callable[[tf.Tensor], Any], images: np.ndarray) -> np.ndarray:
    try:
        answer = traced(tf.constant(images))
    except Exception as error:  # TypeError or ValueError, by the kind of function
        raise NotYet(
            f"the function refuses images of shape {images.shape}: "
            f"{type(error).__name__}: {shorten(error)}"
        ) from error
    if not isinstance(answer, tf.Tensor | np.ndarray) or answer.shape != (len(images), 10):
        what = getattr(answer, "shape", type(answer).__name__)
        raise NotYet(f"expected probabilities of shape {(len(images), 10)}, got {what}.")
    return np.asarray(answer)


def _listed(numbers: tuple[int, ...]) -> str:
    return f"{', '.join(map(str, numbers[:-1]))} and {numbers[-1]}"


def check_export_endpoint(function: Callable[[keras.Model, Path], Any]) -> Feedback:
    """Check exercise 2: `function(model, path)` writes a SavedModel that answers raw images."""
    return give_feedback(lambda: _export_endpoint(function))


MISTAKEN_SCALES: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "were not scaled": lambda raw: raw,
    "were divided by 255": lambda raw: raw / 255,
    "were divided without a remainder": lambda raw: raw // GREY_LEVELS,
}


def _export_endpoint(function: Callable[[keras.Model, Path], Any]) -> str:
    model = _small_model()
    raw = _raw_images()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "endpoint"
        call_answer(function, model, path)
        with open_endpoint(path) as endpoint:
            require_input(endpoint, raw, BATCH_SIZES)
            names = sorted(spec.name for spec in endpoint.outputs)
            if names != ["confidence", "label"]:
                raise NotYet(f"it answers {', '.join(names)}. Expected: confidence and label.")
            for size in BATCH_SIZES:
                label, confidence = _label_and_confidence(endpoint, raw[:size])
                _check_answers(label, confidence, model, raw[:size])
    return f"raw images in, label and confidence out, for {_listed(BATCH_SIZES)} images."


def _check_answers(
    label: np.ndarray, confidence: np.ndarray, model: keras.Model, raw: np.ndarray
) -> None:
    """Compare with what the model answers, and recognise images that were scaled wrongly."""

    def probabilities(scaled: np.ndarray) -> np.ndarray:
        return model.predict_on_batch(scaled.astype(np.float32)[..., np.newaxis])

    expected = probabilities(raw / GREY_LEVELS)
    if _differ(confidence, expected.max(axis=1)):
        for mistake, scale in MISTAKEN_SCALES.items():
            if not _differ(confidence, probabilities(scale(raw)).max(axis=1)):
                raise NotYet(
                    f"it answers as the model does for images that {mistake}. The model was "
                    "trained with values from 0 to 1."
                )
        raise NotYet("the confidence is not the largest probability that the model gives.")
    if not np.array_equal(label, expected.argmax(axis=1)):
        raise NotYet("the label is not the digit with the largest probability.")


def _label_and_confidence(endpoint: Runtime, raw: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    answer = endpoint(raw)
    assert isinstance(answer, dict)  # two outputs
    label, confidence = answer["label"], answer["confidence"]
    for name, array in answer.items():
        if array.shape != (len(raw),):
            raise NotYet(
                f"{name} has the shape {array.shape} for {len(raw)} images. Expected: one number "
                "for each image."
            )
    if not np.issubdtype(label.dtype, np.integer):
        raise NotYet(f"label is {label.dtype}. A digit is a whole number.")
    if not np.issubdtype(confidence.dtype, np.floating):
        raise NotYet(f"confidence is {confidence.dtype}. A probability is a fraction.")
    return label, confidence


def check_export_for_server(function: Callable[[keras.Model, Path], Any]) -> Feedback:
    """Check exercise 3: `function(model, path)` exports a model that augments its images.

    The model scales its images and augments them while it trains. The SavedModel must answer as
    `predict` does, each time the same, and in a fresh process that cannot import Keras.
    """
    return give_feedback(lambda: _export_for_server(function))


def _export_for_server(function: Callable[[keras.Model, Path], Any]) -> str:
    model = _small_model(
        keras.layers.Rescaling(1 / GREY_LEVELS),
        keras.layers.RandomFlip("horizontal_and_vertical", seed=shifted(0)),
        keras.layers.RandomZoom(0.5, seed=shifted(0)),
    )
    images = _raw_images().astype(np.float32)[..., np.newaxis]
    expected = model.predict_on_batch(images)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "server_model"
        call_answer(function, model, path)
        _require_untouched(model, images, expected)
        with open_endpoint(path) as endpoint:
            require_input(endpoint, images, BATCH_SIZES)
            if len(endpoint.outputs) != 1:
                raise NotYet(f"it has {len(endpoint.outputs)} outputs. The model has one.")
            first, second = endpoint(images), endpoint(images)
        _compare(first, second, model, images, expected)
        if _differ(ask_without_keras(path, images), expected):
            raise NotYet("in a fresh process without Keras it answers differently.")
    return "the server answers as predict does, each time the same, and without Keras."


def _require_untouched(model: keras.Model, images: np.ndarray, expected: np.ndarray) -> None:
    """Demand that the model in memory still predicts as before, and still augments."""
    if _differ(model.predict_on_batch(images), expected):
        raise NotYet("the model in memory changed: predict answers differently. Work on a copy.")
    body = keras.Sequential(model.layers[:-3])
    if not _differ(body(images, training=True), body(images, training=False)):
        raise NotYet(
            "the model in memory no longer changes its images while it trains. Work on a copy."
        )


def _compare(
    first: Any, second: Any, model: keras.Model, images: np.ndarray, expected: np.ndarray
) -> None:
    if first.shape != expected.shape:
        raise NotYet(f"it answers with the shape {first.shape}. predict gives {expected.shape}.")
    if _differ(first, second):
        raise NotYet(
            "the same images got two different answers: something random still works in the graph."
        )
    if not _differ(first, model.predict_on_batch(images * GREY_LEVELS)):
        raise NotYet("it answers like a model without Rescaling: that layer is needed in use too.")
    if _differ(first, expected):
        distance = np.abs(first - expected).max()
        raise NotYet(f"each time the same answer, but up to {distance:.2f} away from predict.")
