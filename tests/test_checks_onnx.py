"""The checks of lesson 3 answer back: a stub, typical mistakes, and more than one solution."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import keras
import numpy as np
import onnx
import pytest
import tensorflow as tf
import tf2onnx

from helpers.formats import ArtifactError, KerasRuntime, load_onnx, open_artifact
from helpers.lessons import exercises
from helpers.lessons.exercises import models
from helpers.parity import check_parity
from hints import STUB, expect_hint, stub

pytestmark = pytest.mark.trained


def convert(
    function: Callable[[tf.Tensor], Any],
    path: Path,
    name: str | None = "image",
    rows: int | None = None,
) -> None:
    spec = tf.TensorSpec((rows, 8, 8, 1), tf.float32, name=name)
    tf2onnx.convert.from_function(tf.function(function), [spec], output_path=str(path))


@pytest.fixture(autouse=True)
def nothing_is_left_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A check keeps its files to itself."""
    monkeypatch.chdir(tmp_path)
    yield
    assert list(tmp_path.iterdir()) == []


# Exercise 1: export_named(model, path)

NAME_SECRETS = ("TensorSpec", "from_function", "(None", "training=False", "{", "signature")


def exports_with_keras(model: keras.Model, path: Path) -> None:
    model(np.zeros((1, 8, 8, 1), np.float32))
    model.export(path, format="onnx", verbose=False)


def names_the_input_only(model: keras.Model, path: Path) -> None:
    convert(lambda image: model(image, training=False), path)


def names_the_output_only(model: keras.Model, path: Path) -> None:
    convert(lambda x: {"probabilities": model(x, training=False)}, path, name=None)


def fixes_the_batch(model: keras.Model, path: Path) -> None:
    convert(lambda x: {"probabilities": model(x, training=False)}, path, rows=1)


def forgets_the_mode(model: keras.Model, path: Path) -> None:
    convert(lambda x: {"probabilities": model(x, training=True)}, path)


def adds_an_output(model: keras.Model, path: Path) -> None:
    def answer(image: tf.Tensor) -> dict[str, tf.Tensor]:
        probabilities = model(image, training=False)
        return {"label": tf.argmax(probabilities, axis=1), "probabilities": probabilities}

    convert(answer, path)


def saves_keras(model: keras.Model, path: Path) -> None:
    model.save(path.with_suffix(".keras"))


def keeps_the_result(model: keras.Model, path: Path) -> Any:
    spec = tf.TensorSpec((None, 8, 8, 1), tf.float32, name="image")
    function = tf.function(lambda x: {"probabilities": model(x, training=False)})
    return tf2onnx.convert.from_function(function, [spec])


def exports_a_folder(model: keras.Model, path: Path) -> None:
    model.export(path, verbose=False)


def renames_afterwards(model: keras.Model, path: Path) -> None:
    convert(lambda x: model(x, training=False), path)
    proto = onnx.load(path)
    old = proto.graph.output[0].name
    for node in proto.graph.node:
        node.output[:] = ["probabilities" if name == old else name for name in node.output]
    proto.graph.output[0].name = "probabilities"
    onnx.save(proto, path)


@pytest.mark.parametrize(
    ("answer", "names"),
    [
        (stub, STUB),
        (None, "expected a function, got NoneType"),
        (exports_with_keras, "the input is named scan, not image"),
        (names_the_input_only, "the output is named Identity:0, not probabilities"),
        (names_the_output_only, "the input is named"),
        (fixes_the_batch, "takes no batch of 7 images"),
        (forgets_the_mode, "ONNX has no operator StatelessRandomUniformV2"),
        (adds_an_output, "the output is named label, probabilities, not"),
        (saves_keras, "It wrote model.keras beside it"),
        (keeps_the_result, "there is nothing at the path"),
        (exports_a_folder, "the format is saved_model"),
    ],
    ids=lambda value: getattr(value, "__name__", "none"),
)
def test_a_wrong_export_gets_a_hint(answer: Any, names: str) -> None:
    expect_hint(exercises.check_export_named(answer), names, NAME_SECRETS)


@pytest.mark.parametrize("answer", [models.convert_named, renames_afterwards])
def test_a_right_export_passes(answer: Callable[[keras.Model, Path], None]) -> None:
    assert repr(exercises.check_export_named(answer)).startswith("Passed: ")


# Exercise 2: is_deployable(path, model, images)

VERDICT_SECRETS = ("check_parity", "allclose", "try", "except", "open_artifact", "atol")


def accepts_all(path: Path, model: keras.Model, images: np.ndarray) -> bool:
    return True


def refuses_all(path: Path, model: keras.Model, images: np.ndarray) -> bool:
    return False


def reads_it_only(path: Path, model: keras.Model, images: np.ndarray) -> bool:
    try:
        onnx.checker.check_model(onnx.load(path))
    except onnx.checker.ValidationError:
        return False
    return True


def opens_it_only(path: Path, model: keras.Model, images: np.ndarray) -> bool:
    try:
        load_onnx(path).close()
    except ArtifactError:
        return False
    return True


def judge(rule: Callable[[np.ndarray, np.ndarray], bool], rows: int | None = None) -> Any:
    """Make an answer that runs the file and applies a rule to its and the model's answers."""

    def answer(path: Path, model: keras.Model, images: np.ndarray) -> bool:
        try:
            with load_onnx(path) as runtime:
                return rule(runtime(images[:rows]), model.predict_on_batch(images[:rows]))
        except ValueError:
            return False

    return answer


def trusts_the_file(path: Path, model: keras.Model, images: np.ndarray) -> bool:
    with load_onnx(path) as runtime:
        return np.allclose(runtime(images), model.predict_on_batch(images), atol=1e-5)


def returns_the_report(path: Path, model: keras.Model, images: np.ndarray) -> Any:
    with load_onnx(path) as runtime:
        return check_parity(runtime, KerasRuntime(model), images)


def same_labels(given: np.ndarray, expected: np.ndarray) -> bool:
    return np.array_equal(given.argmax(axis=1), expected.argmax(axis=1))


def roughly(given: np.ndarray, expected: np.ndarray) -> bool:
    return np.allclose(given, expected, atol=1e-3)


def closely(given: np.ndarray, expected: np.ndarray) -> np.bool:
    return np.abs(given - expected).max() < 1e-5


@pytest.mark.parametrize(
    ("answer", "names"),
    [
        (stub, STUB),
        (accepts_all, "it accepted a file that no runtime can load"),
        (refuses_all, "it refused the sound file"),
        (reads_it_only, "it accepted a file with other weights"),
        (opens_it_only, "it accepted a file with other weights"),
        (judge(same_labels), "Are the probabilities compared, and how closely?"),
        (judge(roughly), "in which one weight was changed"),
        (judge(np.array_equal), "it refused the sound file"),
        (judge(closely, rows=1), "it accepted a file that takes one image at a time"),
        (trusts_the_file, "must get the answer False, but your function raised ArtifactError"),
        (returns_the_report, "it returned ParityReport. Return True or False"),
    ],
    ids=lambda value: getattr(value, "__name__", "none")[:20],
)
def test_a_wrong_verdict_gets_a_hint(answer: Any, names: str) -> None:
    expect_hint(exercises.check_is_deployable(answer), names, VERDICT_SECRETS)


def runs_the_parity_check(path: Path, model: keras.Model, images: np.ndarray) -> bool:
    try:
        with open_artifact(path) as runtime:
            return check_parity(runtime, KerasRuntime(model), images).passed
    except ArtifactError:
        return False


@pytest.mark.parametrize("answer", [runs_the_parity_check, judge(closely)])
def test_a_right_verdict_passes(answer: Any) -> None:
    feedback = exercises.check_is_deployable(answer)
    assert repr(feedback) == "Passed: one of 5 files may be shipped, and it is the right one."


def test_the_changed_weight_is_invisible_in_the_labels(tmp_path: Path) -> None:
    """The fault is larger than rounding and smaller than a careless tolerance."""
    model, images = models.build_classifier(), models.draw_images()
    folder = tmp_path / "files"
    folder.mkdir()
    path = models.write_candidates(model, folder)["one weight"]
    with load_onnx(path) as runtime:
        given, expected = runtime(images), model.predict_on_batch(images)
    for file in folder.iterdir():
        file.unlink()
    folder.rmdir()
    assert same_labels(given, expected)
    assert 1e-4 < np.abs(given - expected).max() < 1e-3


# Exercise 3: make_deployable(model, path)

STUBBORN_SECRETS = ("erf(", "clone_model", "set_weights", "training=False", "tanh", "gelu")


def copy_of(model: keras.Model, activation: Any, first: int = 0) -> keras.Model:
    """Rebuild the model with another activation, from its layer number `first` on."""
    copy = keras.models.clone_model(model)
    copy.set_weights(model.get_weights())
    copy.get_layer("hidden").activation = activation
    return keras.Sequential([keras.Input((8, 8, 1)), *copy.layers[first:]])


def exact(inputs: Any) -> Any:
    return 0.5 * inputs * (1.0 + keras.ops.erf(inputs / np.sqrt(2.0).astype(np.float32)))


def nearly(inputs: Any) -> Any:
    return keras.activations.gelu(inputs, approximate=True)


def augments(model: keras.Model, path: Path) -> None:
    copy = copy_of(model, exact)
    convert(lambda x: {"probabilities": copy(x, training=True)}, path)


def copies_inside_the_graph(model: keras.Model, path: Path) -> None:
    convert(lambda x: {"probabilities": copy_of(model, exact)(x)}, path)


def approximates(model: keras.Model, path: Path) -> None:
    models.convert_named(copy_of(model, nearly), path)


def takes_another_activation(model: keras.Model, path: Path) -> None:
    models.convert_named(copy_of(model, keras.activations.relu), path)


def loses_the_rescaling(model: keras.Model, path: Path) -> None:
    models.convert_named(copy_of(model, exact, first=2), path)


def forgets_the_weights(model: keras.Model, path: Path) -> None:
    copy = copy_of(model, exact)
    for weight in copy.trainable_weights:
        weight.assign(weight * 0.5)
    models.convert_named(copy, path)


def changes_the_original(model: keras.Model, path: Path) -> None:
    model.get_layer("hidden").activation = exact
    models.convert_named(model, path)


def changes_the_weights(model: keras.Model, path: Path) -> None:
    replaces_the_activation(model, path)
    model.get_layer("scores").bias.assign(np.ones(10))


def replaces_the_activation(model: keras.Model, path: Path) -> None:
    models.convert_named(copy_of(model, exact), path)


def leaves_the_augmentation_out(model: keras.Model, path: Path) -> None:
    models.convert_named(copy_of(model, exact, first=1), path)


@pytest.mark.parametrize(
    ("answer", "names"),
    [
        (stub, STUB),
        (models.convert_named, "ONNX has no operator Erfc"),
        (augments, "ONNX has no operator StatelessRandomUniformV2"),
        (copies_inside_the_graph, "your function raised NotImplementedError"),
        (approximates, "A formula in it is only nearly the same"),
        (takes_another_activation, "it is another model"),
        (loses_the_rescaling, "as if nobody had divided the grey levels by 16"),
        (forgets_the_weights, "Did it get the weights"),
        (changes_the_original, "the model in memory was changed"),
        (changes_the_weights, "the weights of the model in memory changed"),
    ],
    ids=lambda value: getattr(value, "__name__", "none"),
)
def test_a_wrong_rescue_gets_a_hint(answer: Any, names: str) -> None:
    expect_hint(exercises.check_make_deployable(answer), names, STUBBORN_SECRETS)


@pytest.mark.parametrize("answer", [replaces_the_activation, leaves_the_augmentation_out])
def test_a_right_rescue_passes(answer: Any) -> None:
    assert repr(exercises.check_make_deployable(answer)).startswith("Passed: ")


def test_the_log_of_the_converter_stays_out_of_the_lesson(
    capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    """An operator that tf2onnx cannot convert is logged as an error, and a file is written."""
    exercises.check_make_deployable(models.convert_named)
    assert "Erfc" not in capfd.readouterr().err + caplog.text
