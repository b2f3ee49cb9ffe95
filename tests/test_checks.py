"""The checks of the exercises answer back: a stub, typical mistakes, and more than one solution.

A hint must name the mistake (`names`) and must not give the solution away.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import keras
import pytest

from conftest import RunPython
from helpers.lessons import exercises
from helpers.lessons.exercises.feedback import Feedback
from hints import STUB, expect_hint, stub

pytestmark = [pytest.mark.trained, pytest.mark.usefixtures("nothing_is_left_behind")]

# Exercise 1: save_for_inference(model, path)

SAVE_SECRETS = ("from_config", "set_weights", "compile=False", "Sequential(", "clone_model")


def saves_everything(model: keras.Model, path: Path) -> None:
    model.save(path)


def saves_a_compiled_clone(model: keras.Model, path: Path) -> None:
    copy = keras.models.clone_model(model)  # Keras 3.15 gives the clone an optimizer
    copy.set_weights(model.get_weights())
    copy.save(path)


def uses_an_old_option(model: keras.Model, path: Path) -> None:
    model.save(path, include_optimizer=False)


def forgets_the_weights(model: keras.Model, path: Path) -> None:
    type(model).from_config(model.get_config()).save(path)


def takes_the_optimizer_away(model: keras.Model, path: Path) -> None:
    model.optimizer = None
    model.save(path)


def switches_training_off(model: keras.Model, path: Path) -> None:
    model.compiled = False
    model.save(path)


def spoils_the_weights(model: keras.Model, path: Path) -> None:
    saves_a_copy(model, path)
    model.layers[-1].bias.assign([9.0])


def writes_the_old_format(model: keras.Model, path: Path) -> None:
    model.save(path.with_suffix(".h5"))


def exports_a_graph(model: keras.Model, path: Path) -> None:
    model.export(path, verbose=False)


def writes_text(model: keras.Model, path: Path) -> None:
    path.write_text(model.to_json())


def writes_nothing(model: keras.Model, path: Path) -> keras.Model:
    return model


def takes_one_argument(model: keras.Model) -> None:
    model.save("model.keras")


def saves_a_copy(model: keras.Model, path: Path) -> None:
    copy = type(model).from_config(model.get_config())
    copy.set_weights(model.get_weights())
    copy.save(path)


def saves_the_same_layers(model: keras.Model, path: Path) -> None:
    keras.Model(model.inputs, model.outputs).save(path)


def saves_twice(model: keras.Model, path: Path) -> None:
    model.save(path)
    keras.saving.load_model(path, compile=False).save(path)


@pytest.mark.parametrize(
    ("answer", "names"),
    [
        (stub, STUB),
        (None, "expected a function, got NoneType"),
        (saves_everything, "still holds 10 variables of the optimizer"),
        (saves_a_compiled_clone, "the model that was saved is compiled"),
        (uses_an_old_option, "of the optimizer"),
        (forgets_the_weights, "answers differently"),
        (takes_the_optimizer_away, "the model in memory lost its optimizer"),
        (switches_training_off, "no longer compiled"),
        (spoils_the_weights, "weights of the model in memory changed"),
        (writes_the_old_format, "It wrote small.h5 beside it"),
        (exports_a_graph, "the format is saved_model"),
        (writes_text, "it is JSON text"),
        (writes_nothing, "there is nothing at the path"),
        (takes_one_argument, "TypeError"),
    ],
    ids=lambda value: getattr(value, "__name__", "none"),
)
def test_a_wrong_save_gets_a_hint(answer: Any, names: str) -> None:
    expect_hint(exercises.check_save_for_inference(answer), names, SAVE_SECRETS)


@pytest.mark.parametrize("answer", [saves_a_copy, saves_the_same_layers, saves_twice])
def test_a_right_save_passes(answer: Callable[[keras.Model, Path], None]) -> None:
    feedback = exercises.check_save_for_inference(answer)
    assert repr(feedback).startswith("Passed: the file has 3")
    assert feedback.passed


# Exercise 2: a module with a layer that survives the journey

LAYER_SECRETS = ("register_keras_serializable", "super()", "return {", "**")

MODULE = """
import keras

@keras.saving.register_keras_serializable(package="exercise")
class Amplify(keras.layers.Layer):
    def __init__(self, factor=1.0, **options):
        super().__init__(**options)
        self.factor = factor

    def call(self, inputs):
        return inputs * self.factor

    def get_config(self):
        return {**super().get_config(), "factor": self.factor}
"""
DECORATOR = '@keras.saving.register_keras_serializable(package="exercise")\n'
CONFIG = '{**super().get_config(), "factor": self.factor}'


def edited(old: str, new: str) -> str:
    """Change the sound module."""
    assert old in MODULE
    return MODULE.replace(old, new)


WRONG_MODULES = {
    "stub": (edited(DECORATOR, ""), "does not find the class by its name"),
    "value not in the file": (edited(CONFIG, "super().get_config()"), "by 1 instead of 3"),
    "other key": (edited('"factor": self', '"faktor": self'), "cannot be rebuilt from its config"),
    "number in call": (
        edited("* self.factor", "* 3.0"),
        "with factor=5 the layer makes 3 out of 1",
    ),
    "no call": (edited("def call", "def compute"), "does not have a `call` method"),
    "no Python": (MODULE + "class :", "SyntaxError"),
    "not a text": (keras.layers.Dense, "expected the module as text, got type"),
}
RIGHT_MODULES = {
    "own configuration": "print('hello')\n" + edited(CONFIG, "{'factor': self.factor}"),
    # Keras 3 itself notes arguments that are plain numbers or texts.
    "automatic configuration": MODULE.partition("    def get_config")[0],
}


@pytest.fixture(scope="module")
def layer_feedback() -> dict[str, Feedback]:
    """Check all modules, two at a time: each takes up to two fresh processes of some seconds."""
    modules = {name: module for name, (module, _) in WRONG_MODULES.items()} | RIGHT_MODULES
    with ThreadPoolExecutor(max_workers=2) as pool:
        found = pool.map(exercises.check_custom_layer, modules.values())
        return dict(zip(modules, found, strict=True))


@pytest.mark.parametrize("name", WRONG_MODULES)
def test_a_wrong_layer_gets_a_hint(layer_feedback: dict[str, Feedback], name: str) -> None:
    expect_hint(layer_feedback[name], WRONG_MODULES[name][1], LAYER_SECRETS)


@pytest.mark.parametrize("name", RIGHT_MODULES)
def test_a_right_layer_passes(layer_feedback: dict[str, Feedback], name: str) -> None:
    assert repr(layer_feedback[name]).startswith("Passed: ")


# Exercise 3: load_checked(path, sha256)

HASH_SECRETS = ("hashlib", "hexdigest", "read_bytes", "!=", "load_model")


def sha256_of(path: Path) -> str:
    return hashlib.sha256(Path(path).read_bytes()).hexdigest()


def refuse_unless(condition: bool, error: type[Exception] = ValueError) -> None:
    if not condition:
        raise error("this is not the file that was tested")


def never_compares(path: Path, sha256: str) -> keras.Model:
    return keras.saving.load_model(path)


def compares_too_late(path: Path, sha256: str) -> keras.Model:
    model = keras.saving.load_model(path)
    refuse_unless(sha256_of(path) == sha256)
    return model


def returns_nothing(path: Path, sha256: str) -> None:
    refuse_unless(sha256_of(path) == sha256)
    keras.saving.load_model(path)


def returns_none_instead_of_refusing(path: Path, sha256: str) -> keras.Model | None:
    return keras.saving.load_model(path) if sha256_of(path) == sha256 else None


def asserts(path: Path, sha256: str) -> keras.Model:
    refuse_unless(sha256_of(path) == sha256, AssertionError)
    return keras.saving.load_model(path)


def hashes_the_name(path: Path, sha256: str) -> keras.Model:
    refuse_unless(hashlib.sha256(str(path).encode()).hexdigest() == sha256)
    return keras.saving.load_model(path)


def compares_bytes_with_text(path: Path, sha256: str) -> keras.Model:
    refuse_unless(hashlib.sha256(path.read_bytes()).digest() == sha256)
    return keras.saving.load_model(path)


def reads_text(path: Path, sha256: str) -> keras.Model:
    refuse_unless(hashlib.sha256(path.read_text(encoding="utf-8")).hexdigest() == sha256)
    return keras.saving.load_model(path)


def compares_first(path: Path, sha256: str) -> keras.Model:
    refuse_unless(sha256_of(path) == sha256)
    return keras.saving.load_model(path)


def reads_as_a_stream(path: Path, sha256: str) -> keras.Model:
    with open(path, "rb") as file:
        found = hashlib.file_digest(file, "sha256").hexdigest()
    if found == sha256.lower():
        return keras.models.load_model(path, compile=False)
    raise ValueError(f"{path} has another hash. Fetch it again.")


@pytest.mark.parametrize(
    ("answer", "names"),
    [
        (stub, STUB),
        (never_compares, "accepted another file"),
        (returns_none_instead_of_refusing, "accepted another file"),
        (compares_too_late, "opened the file before the hash was compared"),
        (returns_nothing, "returned NoneType, not a model"),
        (asserts, "it raised AssertionError. Raise ValueError"),
        (hashes_the_name, "refused the right file"),
        (compares_bytes_with_text, "refused the right file"),
        (reads_text, "UnicodeDecodeError"),
    ],
    ids=lambda value: getattr(value, "__name__", "none"),
)
def test_a_wrong_load_gets_a_hint(answer: Callable[[Path, str], Any], names: str) -> None:
    expect_hint(exercises.check_load_checked(answer), names, HASH_SECRETS)


@pytest.mark.parametrize("answer", [compares_first, reads_as_a_stream])
def test_a_right_load_passes(answer: Callable[[Path, str], keras.Model]) -> None:
    assert repr(exercises.check_load_checked(answer)).startswith("Passed: ")


# What all checks share

CHECKS_WITHOUT_FRAMEWORKS = """
import sys
from helpers.lessons import exercises
from helpers.lessons.exercises.feedback import exercise
print(*{"keras", "tensorflow", "onnx", "onnxruntime"} & set(sys.modules))
help(exercises.check_make_function)
"""


def test_a_check_is_loaded_when_it_is_asked_for(run_python: RunPython) -> None:
    frameworks, *help_text = run_python(CHECKS_WITHOUT_FRAMEWORKS).stdout.splitlines()
    assert frameworks == ""
    assert "(function: 'Callable[[keras.Model], Any]') -> 'Feedback'" in "\n".join(help_text)
    assert "function that is traced once in its life." in "\n".join(help_text)


@pytest.mark.parametrize("name", exercises.__all__)
def test_every_exercise_has_its_check(name: str) -> None:
    check = getattr(exercises, name)
    assert check.__name__ == name
    assert check.__doc__.startswith("Check exercise ")
    assert isinstance(check(None), Feedback)
    with pytest.raises(AttributeError, match=f"has no attribute '{name}s'"):
        getattr(exercises, f"{name}s")
