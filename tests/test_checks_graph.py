"""The checks of lesson 2 answer back: a stub, typical mistakes, and more than one solution."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

from helpers.lessons import exercises
from helpers.lessons.exercises import models, tensorflow_graph
from hints import STUB, expect_hint, stub

pytestmark = [pytest.mark.trained, pytest.mark.usefixtures("nothing_is_left_behind")]

IMAGES = tf.TensorSpec((None, 8, 8, 1), "float32", name="images")
RAW_IMAGES = tf.TensorSpec((None, 8, 8), "uint8", name="images")


def name_of(value: Any) -> str:
    return getattr(value, "__name__", "none")


# Exercise 1: make_function(model)

TRACE_SECRETS = ("input_signature", "training=False", "(None")


def calls_python(model: keras.Model) -> Any:
    return lambda images: model(images)


def gives_no_signature(model: keras.Model) -> Any:
    return tf.function(lambda images: model(images))


def hopes_for_less(model: keras.Model) -> Any:
    return tf.function(lambda images: model(images), reduce_retracing=True)


def of_any_number(model: keras.Model) -> tf.TensorSpec:
    return tf.TensorSpec((None, *model.input_shape[1:]), "float32", name="images")


def fixes_the_batch(model: keras.Model) -> Any:
    signature = [tf.TensorSpec((1, *model.input_shape[1:]), "float32")]
    return tf.function(lambda images: model(images), input_signature=signature)


def copies_the_lesson(model: keras.Model) -> Any:
    return tf.function(lambda images: model(images), input_signature=[IMAGES])


def traces_the_lesson(model: keras.Model) -> Any:
    return tf.function(lambda images: model(images)).get_concrete_function(IMAGES)


def trains_in_use(model: keras.Model) -> Any:
    signature = [of_any_number(model)]
    return tf.function(lambda images: model(images, training=True), input_signature=signature)


def answers_labels(model: keras.Model) -> Any:
    signature = [of_any_number(model)]
    return tf.function(lambda images: tf.argmax(model(images), axis=1), input_signature=signature)


def forgets_to_return(model: keras.Model) -> None:
    tf.function(lambda images: model(images), input_signature=[of_any_number(model)])


def states_the_signature(model: keras.Model) -> Any:
    @tf.function(input_signature=[of_any_number(model)])
    def answer(images: tf.Tensor) -> tf.Tensor:
        return model(images, training=False)

    return answer


def traces_beforehand(model: keras.Model) -> Any:
    return tf.function(lambda images: model(images)).get_concrete_function(of_any_number(model))


@pytest.mark.parametrize(
    ("answer", "names"),
    [
        (stub, STUB),
        (None, "expected a function, got NoneType"),
        (calls_python, "Python ran the layers in each of 6 calls"),
        (gives_no_signature, "traced 3 times for the batch sizes 1, 7 and 32"),
        (hopes_for_less, "traced 2 times"),
        (fixes_the_batch, "refuses images of shape (7, 6, 9, 3)"),
        (trains_in_use, "not those that the model gives in use"),
        (answers_labels, "expected probabilities of shape (1, 10)"),
        (forgets_to_return, "it returned NoneType"),
    ],
    ids=name_of,
)
def test_a_wrong_function_gets_a_hint(answer: Any, names: str) -> None:
    expect_hint(exercises.check_make_function(answer), names, TRACE_SECRETS)


@pytest.mark.parametrize(
    ("answer", "names"),
    [
        (copies_the_lesson, "refuses images of shape (1, 6, 9, 3)"),
        (traces_the_lesson, "raised ValueError: Exception encountered when calling Sequential"),
    ],
    ids=name_of,
)
def test_the_lesson_s_own_shape_does_not_fit(answer: Any, names: str) -> None:
    """The hint repeats the shape that the learner wrote, and not where to find the right one."""
    expect_hint(exercises.check_make_function(answer), names, ("input_shape", "File"))


@pytest.mark.parametrize("answer", [states_the_signature, traces_beforehand])
def test_a_right_function_passes(answer: Callable[[keras.Model], Any]) -> None:
    assert repr(exercises.check_make_function(answer)).startswith("Passed: one trace")


# Exercise 2: export_endpoint(model, path)

ENDPOINT_SECRETS = ("/ 16", "argmax", "reduce_max", "track(", "tf.cast")

Answer = Callable[[keras.Model, tf.Tensor], Any]


def write(
    model: keras.Model, path: Path, answer: Answer, images: tf.TensorSpec = RAW_IMAGES
) -> None:
    """Export one endpoint that computes `answer(model, images)`."""
    archive = keras.export.ExportArchive()
    archive.track(model)
    archive.add_endpoint("serve", lambda images: answer(model, images), [images])
    archive.write_out(path, verbose=False)


def scaled(images: tf.Tensor, divisor: float = 16) -> tf.Tensor:
    return tf.cast(images, tf.float32)[..., tf.newaxis] / divisor


def named(probabilities: tf.Tensor) -> dict[str, tf.Tensor]:
    return {
        "label": tf.argmax(probabilities, axis=1),
        "confidence": tf.reduce_max(probabilities, axis=1),
    }


def right_answer(model: keras.Model, images: tf.Tensor) -> dict[str, tf.Tensor]:
    return named(model(scaled(images), training=False))


def exports_the_model(model: keras.Model, path: Path) -> None:
    model.export(path, verbose=False)


def saves_the_model(model: keras.Model, path: Path) -> None:
    model.save(path.with_suffix(".keras"))


def fixes_the_batch_size(model: keras.Model, path: Path) -> None:
    write(model, path, right_answer, tf.TensorSpec((1, 8, 8), "uint8"))


def does_not_scale(model: keras.Model, path: Path) -> None:
    write(model, path, lambda model, images: named(model(scaled(images, 1))))


def scales_like_photographs(model: keras.Model, path: Path) -> None:
    write(model, path, lambda model, images: named(model(scaled(images, 255))))


def divides_whole_numbers(model: keras.Model, path: Path) -> None:
    write(model, path, lambda model, images: named(model(scaled(images // 16, 1))))


def names_nothing(model: keras.Model, path: Path) -> None:
    write(model, path, lambda model, images: model(scaled(images)))


def answers_all_probabilities(model: keras.Model, path: Path) -> None:
    def answer(model: keras.Model, images: tf.Tensor) -> dict[str, tf.Tensor]:
        probabilities = model(scaled(images))
        return named(probabilities) | {"confidence": probabilities}

    write(model, path, answer)


def answers_with_a_fraction(model: keras.Model, path: Path) -> None:
    def answer(model: keras.Model, images: tf.Tensor) -> dict[str, tf.Tensor]:
        found = right_answer(model, images)
        return found | {"label": tf.cast(found["label"], tf.float32)}

    write(model, path, answer)


def takes_the_smallest(model: keras.Model, path: Path) -> None:
    def answer(model: keras.Model, images: tf.Tensor) -> dict[str, tf.Tensor]:
        probabilities = model(scaled(images))
        return named(probabilities) | {"label": tf.argmin(probabilities, axis=1)}

    write(model, path, answer)


def writes_an_archive(model: keras.Model, path: Path) -> None:
    write(model, path, right_answer)


def writes_a_module(model: keras.Model, path: Path) -> None:
    module = tf.Module()
    module.model = model
    module.serve = tf.function(
        lambda images: right_answer(model, images), input_signature=[RAW_IMAGES]
    )
    tf.saved_model.save(module, str(path), signatures=module.serve)


@pytest.mark.parametrize(
    ("answer", "names"),
    [
        (stub, STUB),
        (saves_the_model, "It wrote endpoint.keras beside it"),
        (exports_the_model, "float32 (n, 8, 8, 1). The client sends uint8"),
        (fixes_the_batch_size, "It refuses images of shape (7, 8, 8)"),
        (does_not_scale, "images that were not scaled"),
        (scales_like_photographs, "images that were divided by 255"),
        (divides_whole_numbers, "images that were divided without a remainder"),
        (names_nothing, "it answers output_0"),
        (answers_all_probabilities, "confidence has the shape (1, 10) for 1 images"),
        (answers_with_a_fraction, "label is float32"),
        (takes_the_smallest, "not the digit with the largest probability"),
    ],
    ids=name_of,
)
def test_a_wrong_endpoint_gets_a_hint(answer: Any, names: str) -> None:
    expect_hint(exercises.check_export_endpoint(answer), names, ENDPOINT_SECRETS)


@pytest.mark.parametrize("answer", [writes_an_archive, writes_a_module])
def test_a_right_endpoint_passes(answer: Callable[[keras.Model, Path], None]) -> None:
    feedback = exercises.check_export_endpoint(answer)
    assert repr(feedback).startswith("Passed: raw images in")


# Exercise 3: export_for_server(model, path)

SERVER_SECRETS = ("training=False", "ExportArchive", "layers[", "Random")


def freezes_the_layers(model: keras.Model, path: Path) -> None:
    model.trainable = False
    model.export(path, verbose=False)


def leaves_out_too_much(model: keras.Model, path: Path) -> None:
    keras.Sequential([keras.Input((8, 8, 1)), *model.layers[-3:]]).export(path, verbose=False)


def calls_python_in_the_graph(model: keras.Model, path: Path) -> None:
    def answer(model: keras.Model, images: tf.Tensor) -> tf.Tensor:
        found = tf.numpy_function(model.predict_on_batch, [images], tf.float32)
        return tf.ensure_shape(found, (None, 10))

    write(model, path, answer, IMAGES)


def switches_the_layers_off(model: keras.Model, path: Path) -> None:
    for layer in model.layers[1:3]:
        layer.call = lambda images, training=None: images
    model.export(path, verbose=False)


def forgets_the_weights(model: keras.Model, path: Path) -> None:
    write(keras.models.clone_model(model), path, in_use, IMAGES)


def writes_the_keras_format(model: keras.Model, path: Path) -> None:
    file = path.with_suffix(".keras")
    model.save(file)
    file.rename(path)


def in_use(model: keras.Model, images: tf.Tensor) -> tf.Tensor:
    return model(images, training=False)


def states_the_mode(model: keras.Model, path: Path) -> None:
    write(model, path, in_use, IMAGES)


def leaves_the_random_layers_out(model: keras.Model, path: Path) -> None:
    kept = [layer for layer in model.layers if not layer.name.startswith("random")]
    keras.Sequential([keras.Input((8, 8, 1)), *kept]).export(path, verbose=False)


WRONG_EXPORTS: dict[Any, str] = {
    stub: STUB,
    writes_the_keras_format: "the format is keras. This exercise asks for a SavedModel folder",
    exports_the_model: "the same images got two different answers",
    freezes_the_layers: "the same images got two different answers",
    leaves_out_too_much: "like a model without Rescaling",
    calls_python_in_the_graph: "calls back into Python code",
    switches_the_layers_off: "no longer changes its images while it trains",
    forgets_the_weights: "away from predict",
}
RIGHT_EXPORTS = [states_the_mode, leaves_the_random_layers_out]


@pytest.mark.parametrize("answer", WRONG_EXPORTS, ids=name_of)
def test_a_wrong_export_gets_a_hint(answer: Any) -> None:
    feedback = exercises.check_export_for_server(answer)
    expect_hint(feedback, WRONG_EXPORTS[answer], SERVER_SECRETS)


@pytest.mark.parametrize("answer", RIGHT_EXPORTS)
def test_a_right_export_passes(answer: Callable[[keras.Model, Path], None]) -> None:
    feedback = exercises.check_export_for_server(answer)
    assert repr(feedback).startswith("Passed: the server answers as predict does")


def test_the_tolerance_is_far_from_rounding_and_from_faults() -> None:
    raw = models.draw_scans()
    model = models.build_linear()
    alone = np.concatenate([model.predict_on_batch(scaled(image[None])) for image in raw])
    together = model.predict_on_batch(scaled(raw))
    assert np.abs(alone - together).max() < tensorflow_graph.TOLERANCE / 5
    assert len(set(together.argmax(axis=1))) > 5
