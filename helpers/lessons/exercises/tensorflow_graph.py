"""Checks for the exercises of lesson 2."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from helpers.formats import ArtifactError, Runtime, load_saved_model
from helpers.lessons import shifted
from helpers.lessons.exercises.feedback import (
    NotYet,
    call_answer,
    exercise,
    require,
    shorten,
    written_by,
)
from helpers.lessons.exercises.models import (
    BATCH_SIZES,
    GREY_LEVELS,
    SIZES,
    TraceCounter,
    build_linear,
    draw_images,
    draw_scans,
)
from helpers.lessons.fresh_process import FreshProcessError, run_in_fresh_process

OTHER_SHAPE = (6, 9, 3)
"""Of colour images: a signature of the lesson does not fit them."""
TOLERANCE = 1e-5
"""Probabilities of a graph and of its source differ by rounding, which is about 1e-7."""


def _same(found: np.ndarray, expected: np.ndarray) -> bool:
    return np.allclose(found, expected, rtol=0, atol=TOLERANCE)


@exercise
def check_make_function(function: Callable[[keras.Model], Any]) -> str:
    """Check exercise 1: `function(model)` returns a function that is traced once in its life."""
    counter = TraceCounter(name="trace_counter")
    model = build_linear(counter, image_shape=OTHER_SHAPE)
    random = np.random.default_rng(shifted(2))
    images = random.random((max(BATCH_SIZES), *OTHER_SHAPE), dtype=np.float32)
    expected = model.predict_on_batch(images)
    runs_before = counter.runs
    traced = call_answer(function, model)
    require(callable(traced), f"it returned {type(traced).__name__}. It must return a function.")
    sizes = [size for size in BATCH_SIZES for _ in range(2)]
    for size in sizes:
        require(
            _same(_ask(traced, images[:size]), expected[:size]),
            "the answers are not those that the model gives in use. What do layers such as "
            "Dropout need to know?",
        )
    runs = counter.runs - runs_before
    require(
        runs != len(sizes),
        f"Python ran the layers in each of {runs} calls: the function is no graph, it is computed "
        "layer by layer.",
    )
    require(
        runs == 1,
        f"it was traced {runs} times for the batch sizes {SIZES}. A new shape made a new graph. "
        "What does the function know of its input before the first call?",
    )
    return f"one trace serves the batch sizes {SIZES}."


def _ask(traced: Callable[[tf.Tensor], Any], images: np.ndarray) -> np.ndarray:
    try:
        answer = traced(tf.constant(images))
    except Exception as error:  # TypeError or ValueError, by the kind of function
        raise NotYet(
            f"the function refuses images of shape {images.shape}: "
            f"{type(error).__name__}: {shorten(error)}"
        ) from error
    what, wanted = getattr(answer, "shape", type(answer).__name__), (len(images), 10)
    right = isinstance(answer, tf.Tensor | np.ndarray) and what == wanted
    require(right, f"expected probabilities of shape {wanted}, got {what}.")
    return np.asarray(answer)


MISTAKEN_SCALES: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "were not scaled": lambda raw: raw,
    "were divided by 255": lambda raw: raw / 255,
    "were divided without a remainder": lambda raw: raw // GREY_LEVELS,
}


@exercise
def check_export_endpoint(function: Callable[[keras.Model, Path], Any]) -> str:
    """Check exercise 2: `function(model, path)` writes a SavedModel that answers raw images."""
    model = build_linear()
    raw = draw_scans()
    with (
        written_by(function, model, "endpoint", "saved_model") as path,
        _opened(path, raw) as endpoint,
    ):
        names = sorted(spec.name for spec in endpoint.outputs)
        wanted = ["confidence", "label"]
        require(names == wanted, f"it answers {', '.join(names)}. Expected: confidence and label.")
        for size in BATCH_SIZES:
            answer = endpoint(raw[:size])
            _require_form(answer, size)
            _require_answers(answer, model, raw[:size])
    return f"raw images in, label and confidence out, for {SIZES} images."


def _require_form(answer: dict[str, np.ndarray], size: int) -> None:
    for name, array in answer.items():
        require(
            array.shape == (size,),
            f"{name} has the shape {array.shape} for {size} images. Expected: one number for each "
            "image.",
        )
    label, confidence = answer["label"].dtype, answer["confidence"].dtype
    require(label.kind in "iu", f"label is {label}. A digit is a whole number.")
    require(confidence.kind == "f", f"confidence is {confidence}. A probability is a fraction.")


def _require_answers(answer: dict[str, np.ndarray], model: keras.Model, raw: np.ndarray) -> None:
    """Compare with what the model answers, and recognise images that were scaled wrongly."""

    def probabilities(scaled: np.ndarray) -> np.ndarray:
        return model.predict_on_batch(scaled.astype(np.float32)[..., np.newaxis])

    expected = probabilities(raw / GREY_LEVELS)
    if not _same(answer["confidence"], expected.max(axis=1)):
        for mistake, scale in MISTAKEN_SCALES.items():
            require(
                not _same(answer["confidence"], probabilities(scale(raw)).max(axis=1)),
                f"it answers as the model does for images that {mistake}. The model was trained "
                "with values from 0 to 1.",
            )
        raise NotYet("the confidence is not the largest probability that the model gives.")
    right = np.array_equal(answer["label"], expected.argmax(axis=1))
    require(right, "the label is not the digit with the largest probability.")


@exercise
def check_export_for_server(function: Callable[[keras.Model, Path], Any]) -> str:
    """Check exercise 3: `function(model, path)` exports a model that augments its images.

    The model scales its images and augments them while it trains. The SavedModel must answer as
    `predict` does, each time the same, and in a fresh process that cannot import Keras.
    """
    model = build_linear(
        keras.layers.Rescaling(1 / GREY_LEVELS),
        keras.layers.RandomFlip("horizontal_and_vertical", seed=shifted(0)),
        keras.layers.RandomZoom(0.5, seed=shifted(0)),
    )
    images = draw_images()
    expected = model.predict_on_batch(images)
    with written_by(function, model, "server_model", "saved_model") as path:
        _require_untouched(model, images, expected)
        with _opened(path, images) as endpoint:
            count = len(endpoint.outputs)
            require(count == 1, f"it has {count} outputs. The model has one.")
            first, second = endpoint(images), endpoint(images)
        _compare(first, second, model, images, expected)
        same = _same(_ask_without_keras(path, images), expected)
        require(same, "in a fresh process without Keras it answers differently.")
    return "the server answers as predict does, each time the same, and without Keras."


def _require_untouched(model: keras.Model, images: np.ndarray, expected: np.ndarray) -> None:
    """Demand that the model in memory still predicts as before, and still augments."""
    same = _same(model.predict_on_batch(images), expected)
    require(same, "the model in memory changed: predict answers differently. Work on a copy.")
    body = keras.Sequential(model.layers[:-3])
    require(
        not _same(body(images, training=True), body(images, training=False)),
        "the model in memory no longer changes its images while it trains. Work on a copy.",
    )


def _compare(
    first: Any, second: Any, model: keras.Model, images: np.ndarray, expected: np.ndarray
) -> None:
    found, wanted = first.shape, expected.shape
    require(found == wanted, f"it answers with the shape {found}. predict gives {wanted}.")
    require(
        _same(first, second),
        "the same images got two different answers: something random still works in the graph.",
    )
    require(
        not _same(first, model.predict_on_batch(images * GREY_LEVELS)),
        "it answers like a model without Rescaling: that layer is needed in use too.",
    )
    away = f"{np.abs(first - expected).max():.2f} away from predict"
    require(_same(first, expected), f"each time the same answer, but up to {away}.")


def _opened(path: Path, images: np.ndarray) -> Runtime:
    """Open the signature `serving_default`; demand one input that takes such images.

    Raises:
        NotYet: the SavedModel cannot be used, or its input has another dtype or shape.
    """
    try:
        endpoint = load_saved_model(path, trust=True)  # the learner wrote it
    except ArtifactError as error:
        raise NotYet(f"the SavedModel cannot be used: {error.finding}.") from error
    count = len(endpoint.inputs)
    require(count == 1, f"it has {count} inputs. Expected: one, the images.")
    (spec,) = endpoint.inputs
    found = f"its input is {spec}."
    require(spec.dtype == images.dtype.name, f"{found} The client sends {images.dtype} values.")
    for size in BATCH_SIZES:
        shape = (size, *images.shape[1:])
        require(spec.accepts_shape(shape), f"{found} It refuses images of shape {shape}.")
    return endpoint


ASK_WITHOUT_KERAS = """
import sys
sys.modules["keras"] = None  # from here on, an import of Keras fails
import numpy as np, tensorflow as tf
loaded = tf.saved_model.load(sys.argv[1])
serve = loaded.signatures["serving_default"]
(name,) = serve.structured_input_signature[1]
(answer,) = serve(**{name: tf.constant(np.load(sys.argv[2]))}).values()
np.save(sys.argv[3], answer.numpy())
"""


def _ask_without_keras(path: Path, images: np.ndarray) -> np.ndarray:
    """Ask a SavedModel with one input and one output in a process that cannot import Keras.

    Raises:
        NotYet: it cannot be loaded or asked there.
    """
    question, answer = path.with_name("images.npy"), path.with_name("answers.npy")
    np.save(question, images)
    try:
        run_in_fresh_process(ASK_WITHOUT_KERAS, path, question, answer)
    except FreshProcessError as error:
        reason = shorten(error)
        if "callback" in str(error):
            reason = "the graph calls back into Python code, which stayed in this process."
        raise NotYet(
            f"it works here, but not in a fresh process without Keras: {reason}"
        ) from error
    return np.load(answer)
