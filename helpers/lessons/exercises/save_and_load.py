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

from helpers.lessons import shifted
from helpers.lessons.exercises.feedback import (
    NotYet,
    call_answer,
    exercise,
    one_line,
    require,
    written_by,
)
from helpers.lessons.exercises.models import Tripwire, build_trained
from helpers.lessons.fresh_process import FreshProcessError, run_in_fresh_process


@exercise
def check_save_for_inference(function: Callable[[keras.Model, Path], Any]) -> str:
    """Check exercise 1: `function(model, path)` writes a .keras file without optimizer state."""
    model = build_trained()
    optimizer, weights = model.optimizer, model.get_weights()
    inputs = np.random.default_rng(shifted(1)).normal(size=(4, 4)).astype(np.float32)
    with written_by(function, model, "small.keras", "keras") as path:
        require(
            model.optimizer is optimizer,
            "the file may be right, but the model in memory lost its optimizer: its owner can no "
            "longer train it. Work on a copy.",
        )
        same = all(map(np.array_equal, weights, model.get_weights()))
        require(same, "the weights of the model in memory changed. Work on a copy.")
        require(model.compiled, "the model in memory is no longer compiled, so it cannot train.")
        count = _optimizer_variables(path)
        require(
            count == 0,
            f"the file still holds {count} variables of the optimizer: the model that was saved "
            "is compiled.",
        )
        copy = keras.saving.load_model(path, compile=False)
        same = np.array_equal(copy.predict_on_batch(inputs), model.predict_on_batch(inputs))
        require(same, "the loaded model answers differently. Did the copy get the weights?")
        full = path.with_name("full.keras")
        model.save(full)
        share = path.stat().st_size / full.stat().st_size
    return f"the file has {share:.0%} of the full size, and the model in memory can still train."


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


@exercise
def check_custom_layer(source: str) -> str:
    """Check exercise 2: `source` is a module with a layer `Amplify(factor)` that can be reloaded.

    Models are saved in one fresh process and loaded in another, both in a temporary folder.
    """
    found = type(source).__name__
    require(isinstance(source, str), f"expected the module as text, got {found}.")
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "my_layers.py").write_text(source, encoding="utf-8")
        enter = f"import os, sys; os.chdir({folder!r}); sys.path.insert(0, {folder!r})\n"
        try:
            before = _numbers(run_in_fresh_process(enter + SAVE_CODE))
        except FreshProcessError as error:
            raise NotYet(f"the model cannot be built and saved: {one_line(error)}") from error
        for factor, number in zip(FACTORS, before, strict=True):
            require(
                number == factor,
                f"with factor={factor:g} the layer makes {number:g} out of 1, before it is saved. "
                "What does call return?",
            )
        try:
            after = _numbers(run_in_fresh_process(enter + LOAD_CODE))
        except FreshProcessError as error:
            cause = _cause(one_line(error))
            raise NotYet(f"saved, but not loaded in a fresh process: {cause}") from error
    require(
        after == FACTORS,
        f"the model loads, but it amplifies by {after[0]:g} instead of {FACTORS[0]:g}: the value "
        "that was given to the layer is not in the file. What does get_config return?",
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


@exercise
def check_load_checked(function: Callable[[Path, str], Any]) -> str:
    """Check exercise 3: `function(path, sha256)` loads a file only if it has that hash."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.keras"
        build_trained().save(path)
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
        found = type(loaded).__name__
        right = isinstance(loaded, keras.Model)
        require(right, f"for the right hash it returned {found}, not a model.")
        keras.Sequential([keras.Input((4,)), Tripwire()]).save(path)
        loads = Tripwire.loads
        try:
            function(path, digest)
        except ValueError:
            unopened = Tripwire.loads == loads
            require(unopened, "Keras had opened the file before the hash was compared.")
        except Exception as error:  # the kind of the refusal is what is checked
            raise NotYet(
                f"for another file it raised {type(error).__name__}. Raise ValueError."
            ) from error
        else:
            raise NotYet("it accepted another file under the same name.")
    return "the right file is loaded; another file is refused before Keras opens it."
