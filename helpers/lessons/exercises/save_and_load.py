"""Checks for the exercises of lesson 1."""

from __future__ import annotations

import hashlib
import tempfile
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import keras
import numpy as np

from helpers.lessons.exercises.feedback import (
    Feedback,
    NotYet,
    call_answer,
    give_feedback,
    one_line,
)
from helpers.lessons.exercises.files import require_artifact
from helpers.lessons.fresh_process import FreshProcessError, run_in_fresh_process
from helpers.lessons.seeds import shifted

ROWS = 4


def check_save_for_inference(function: Callable[[keras.Model, Path], Any]) -> Feedback:
    """Check exercise 1: `function(model, path)` writes a .keras file without optimizer state."""
    return give_feedback(lambda: _save_for_inference(function))


def _save_for_inference(function: Callable[[keras.Model, Path], Any]) -> str:
    model = _small_model()
    optimizer = model.optimizer
    weights = model.get_weights()
    inputs = np.random.default_rng(shifted(1)).normal(size=(ROWS, 4)).astype(np.float32)
    with tempfile.TemporaryDirectory() as folder:
        full, path = Path(folder) / "full.keras", Path(folder) / "small.keras"
        model.save(full)
        call_answer(function, model, path)
        require_artifact(path, "keras", others={full.name})
        if model.optimizer is not optimizer:
            raise NotYet(
                "the file may be right, but the model in memory lost its optimizer: its owner "
                "can no longer train it. Work on a copy."
            )
        if any(np.any(a != b) for a, b in zip(weights, model.get_weights(), strict=True)):
            raise NotYet("the weights of the model in memory changed. Work on a copy.")
        if not model.compiled:
            raise NotYet("the model in memory is no longer compiled, so it cannot train.")
        count = _optimizer_variables(path)
        if count:
            raise NotYet(
                f"the file still holds {count} variables of the optimizer: the model that was "
                "saved is compiled."
            )
        copy = keras.saving.load_model(path, compile=False)
        if not np.array_equal(copy.predict_on_batch(inputs), model.predict_on_batch(inputs)):
            raise NotYet("the loaded model answers differently. Did the copy get the weights?")
        share = path.stat().st_size / full.stat().st_size
    return f"the file has {share:.0%} of the full size, and the model in memory can still train."


def _small_model() -> keras.Model:
    keras.utils.set_random_seed(shifted(0))
    model = keras.Sequential(
        [keras.Input((4,), name="x"), keras.layers.Dense(4096), keras.layers.Dense(1)]
    )
    model.compile(optimizer="adam", loss="mean_squared_error")
    model.train_on_batch(np.ones((ROWS, 4), np.float32), np.ones((ROWS, 1), np.float32))
    return model


def _optimizer_variables(path: Path) -> int:
    with (
        zipfile.ZipFile(path) as archive,
        archive.open("model.weights.h5") as member,
        h5py.File(member, "r") as weights,
    ):
        return len(weights["optimizer/vars"]) if "optimizer/vars" in weights else 0


FACTORS = [3.0, 5.0]
"""Two values, so that neither the default nor a number written into `call` can pass."""

ASK = "print(*[float(model.predict_on_batch(ones)[0, 0]) for model in models])"

SAVE_CODE = f"""
import my_layers
import keras, numpy as np
ones = np.ones((1, 2), "float32")
models = [
    keras.Sequential([keras.Input((2,)), my_layers.Amplify(factor=factor)]) for factor in {FACTORS}
]
{ASK}
for number, model in enumerate(models):
    model.save(f"custom_{{number}}.keras")
"""

LOAD_CODE = f"""
import keras, numpy as np
import my_layers
ones = np.ones((1, 2), "float32")
models = [keras.saving.load_model(f"custom_{{number}}.keras") for number in range({len(FACTORS)})]
{ASK}
"""


def check_custom_layer(source: str) -> Feedback:
    """Check exercise 2: `source` is a module with a layer `Amplify(factor)` that can be reloaded.

    Models are saved in one fresh process and loaded in another, both in a temporary folder.
    """
    return give_feedback(lambda: _custom_layer(source))


def _custom_layer(source: str) -> str:
    if not isinstance(source, str):
        raise NotYet(f"expected the module as text, got {type(source).__name__}.")
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "my_layers.py").write_text(source, encoding="utf-8")
        enter = f"import os, sys; os.chdir({folder!r}); sys.path.insert(0, {folder!r})\n"
        try:
            before = _numbers(run_in_fresh_process(enter + SAVE_CODE))
        except FreshProcessError as error:
            raise NotYet(f"the model cannot be built and saved: {one_line(error)}") from error
        for factor, number in zip(FACTORS, before, strict=True):
            if number != factor:
                raise NotYet(
                    f"with factor={factor:g} the layer makes {number:g} out of 1, before it is "
                    "saved. What does call return?"
                )
        try:
            after = _numbers(run_in_fresh_process(enter + LOAD_CODE))
        except FreshProcessError as error:
            raise NotYet(
                f"saved, but not loaded in a fresh process: {_cause(one_line(error))}"
            ) from error
    if after != FACTORS:
        raise NotYet(
            f"the model loads, but it amplifies by {after[0]:g} instead of {FACTORS[0]:g}: the "
            "value that was given to the layer is not in the file. What does get_config return?"
        )
    return "saved in one process, loaded in another, and every factor came back."


def _numbers(printed: str) -> list[float]:
    """Read the last line: a module may print something of its own before it."""
    return [float(word) for word in printed.splitlines()[-1].split()]


def _cause(message: str) -> str:
    """Say what a failed load means for the class."""
    if "Could not locate class" in message:
        return "Keras does not find the class by its name, although its module is imported."
    if "unexpected keyword" in message or "could not be deserialized" in message:
        return (
            "the class cannot be rebuilt from its configuration. Compare what get_config returns "
            "with what __init__ accepts: Keras adds arguments of its own, such as name."
        )
    return message


@keras.saving.register_keras_serializable(package="checks")
class Tripwire(keras.layers.Layer):
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


def check_load_checked(function: Callable[[Path, str], Any]) -> Feedback:
    """Check exercise 3: `function(path, sha256)` loads a file only if it has that hash."""
    return give_feedback(lambda: _load_checked(function))


def _load_checked(function: Callable[[Path, str], Any]) -> str:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.keras"
        _small_model().save(path)
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
        try:
            loaded = call_answer(function, path, digest)
        except NotYet as hint:
            if type(hint.__cause__) is not ValueError:
                raise
            raise NotYet(
                "it refused the right file. The hash is the SHA-256 of the content, written in "
                "hexadecimal digits."
            ) from hint
        if not isinstance(loaded, keras.Model):
            raise NotYet(f"for the right hash it returned {type(loaded).__name__}, not a model.")
        keras.Sequential([keras.Input((4,)), Tripwire()]).save(path)
        loads = Tripwire.loads
        try:
            function(path, digest)
        except ValueError:
            pass
        except Exception as error:  # the kind of the refusal is what is checked
            raise NotYet(
                f"for another file it raised {type(error).__name__}. Raise ValueError."
            ) from error
        else:
            raise NotYet("it accepted another file under the same name.")
        if Tripwire.loads != loads:
            raise NotYet("Keras had opened the file before the hash was compared.")
    return "the right file is loaded; another file is refused before Keras opens it."
