"""The models are good enough to teach with, and the same on every run."""

from __future__ import annotations

import hashlib
import time
from typing import Any

import keras
import numpy as np
import pytest

import families
from conftest import RunPython
from helpers.lessons import models
from helpers.lessons.digits import Digits

pytestmark = pytest.mark.trained

OUTPUT_SHAPES = {
    "digits_cnn": (None, 10),
    "residual": (None, 10),
    "lstm": (None, 10),
    "attention": (None, 10),
}

HASH_IN_ANOTHER_PROCESS = """
import hashlib
from helpers.lessons.digits import load_digits
from helpers.lessons.models import build_attention, build_digits_cnn, train
build_attention()  # another model before it must not change a name or a weight
digits = load_digits()
model = build_digits_cnn()
train(model, digits, epochs=2)
print([layer.name for layer in model.layers])
print(hashlib.sha256(model.predict_on_batch(digits.test_images).tobytes()).hexdigest())
"""


def test_accuracy_on_held_out_images(digits_cnn: keras.Model, digits: Digits) -> None:
    predicted = digits_cnn.predict_on_batch(digits.test_images).argmax(axis=-1)
    assert (predicted == digits.test_labels).mean() >= 0.95  # 25 seeds: 0.958 to 0.983


def test_training_twice_gives_the_same_model(
    digits_cnn: keras.Model, digits: Digits, record_property: Any
) -> None:
    start = time.perf_counter()
    again = models.build_digits_cnn()
    models.train(again, digits)
    record_property("training_seconds", round(time.perf_counter() - start, 1))
    for weight, expected in zip(again.get_weights(), digits_cnn.get_weights(), strict=True):
        np.testing.assert_array_equal(weight, expected)


def test_another_process_gives_the_same_answers(digits: Digits, run_python: RunPython) -> None:
    model = models.build_digits_cnn()
    models.train(model, digits, epochs=2)
    answers = model.predict_on_batch(digits.test_images)
    names, answers_there = run_python(HASH_IN_ANOTHER_PROCESS).stdout.splitlines()
    assert names == str([layer.name for layer in model.layers])
    assert answers_there == hashlib.sha256(answers.tobytes()).hexdigest()


def test_training_does_not_see_the_test_images(digits: Digits) -> None:
    hidden = Digits(**{**vars(digits), "test_images": None, "test_labels": None})
    history = models.train(models.build_digits_cnn(), hidden, epochs=1)
    assert set(history.history) == {"loss", "accuracy", "val_loss", "val_accuracy"}


@pytest.mark.parametrize("name", families.DIGITS_BUILDERS)
def test_builders_share_input_and_output(name: str) -> None:
    model = families.DIGITS_BUILDERS[name]()
    assert [tensor.name for tensor in model.inputs] == ["image"]
    assert model.inputs[0].shape == (None, 8, 8, 1)
    assert model.outputs[0].shape == OUTPUT_SHAPES[name]
    assert model.name == name


@pytest.mark.parametrize("build", [*families.DIGITS_BUILDERS.values(), families.build_two_branch])
def test_a_seed_gives_one_model(build: Any) -> None:
    first, again, other = build(), build(), build(seed=1)
    assert [layer.name for layer in first.layers] == [layer.name for layer in again.layers]
    for weight, expected in zip(again.get_weights(), first.get_weights(), strict=True):
        np.testing.assert_array_equal(weight, expected)
    assert any(
        not np.array_equal(weight, expected)
        for weight, expected in zip(other.get_weights(), first.get_weights(), strict=True)
    )


def test_two_branch_is_named_at_both_ends() -> None:
    model = families.build_two_branch()
    assert {name: x.shape for name, x in model.input.items()} == {
        "image": (None, 8, 8, 1),
        "profile": (None, 8),
    }
    assert {name: y.shape for name, y in model.output.items()} == {
        "digit": (None, 10),
        "ink": (None, 1),
    }


def test_mobilenet_tells_images_and_seeds_apart(mobilenet: keras.Model) -> None:
    images = np.random.default_rng(5).uniform(-1, 1, (2, 96, 96, 3)).astype(np.float32)
    first, second = mobilenet.predict_on_batch(images)
    assert first.shape == (1000,)
    assert np.abs(first - second).max() > 1e-4
    other = models.build_mobilenet_v2(image_size=96, seed=1)
    assert np.abs(other.predict_on_batch(images)[0] - first).max() > 1e-4


def test_the_narrow_mobilenet_is_narrow() -> None:
    narrow = models.build_mobilenet_v2(image_size=32, alpha=0.35, classes=10)
    assert narrow.output_shape == (None, 10)
    assert 350_000 < narrow.count_params() < 450_000


def test_calibration_sets_the_statistics_and_puts_the_momentum_back(digits: Digits) -> None:
    model = families.build_residual()
    images = digits.train_images[:64]
    models.calibrate_batch_norm(model, images)
    norm = model.get_layer("stem_norm")
    stem = keras.Model(model.input, model.get_layer("stem_conv").output)(images).numpy()
    np.testing.assert_allclose(norm.moving_mean, stem.mean(axis=(0, 1, 2)), atol=1e-5)
    np.testing.assert_allclose(norm.moving_variance, stem.var(axis=(0, 1, 2)), atol=1e-5)
    assert norm.momentum == 0.99


def test_calibration_puts_the_momentum_back_after_an_error() -> None:
    model = families.build_residual()
    with pytest.raises(ValueError, match="incompatible"):
        models.calibrate_batch_norm(model, np.zeros((2, 3), np.float32))
    assert model.get_layer("stem_norm").momentum == 0.99
