"""Checks for the exercises of lesson 3."""

from __future__ import annotations

import logging
import re
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import keras
import numpy as np

from helpers.formats import OnnxRuntime, load_onnx
from helpers.formats.identify import ArtifactError
from helpers.lessons.exercises.feedback import Feedback, NotYet, call_answer, give_feedback, shorten
from helpers.lessons.exercises.files import require_artifact
from helpers.lessons.exercises.onnx_files import (
    CANDIDATES,
    GREY_LEVELS,
    build_classifier,
    build_stubborn_model,
    draw_images,
    write_candidates,
)

BATCH_SIZES = (1, 7, 32)
TOLERANCE = 1e-5
"""Probabilities of a faithful ONNX file differ from those of Keras by about 1e-7."""
NEARLY = 0.01
"""Over 12 seeds, a formula that is nearly the same differs by 3e-4 at most, another one by 0.05."""


def _call_converter(function: Callable[..., Any], model: keras.Model, path: Path) -> None:
    """Call the answer; what tf2onnx logs about operators comes back in the feedback instead."""
    before = logging.root.manager.disable
    logging.disable(logging.ERROR)
    try:
        call_answer(function, model, path)
    finally:
        logging.disable(before)


@contextmanager
def _opened(path: Path) -> Iterator[OnnxRuntime]:
    require_artifact(path, "onnx")
    try:
        runtime = load_onnx(path)
    except ArtifactError as error:
        operator = re.search(r"No Op registered for (\w+)", error.finding)
        if operator is None:
            raise NotYet(f"the file cannot be loaded: {shorten(error)}") from error
        raise NotYet(
            f"a file was written, but no runtime loads it: ONNX has no operator {operator[1]}. "
            "Which layer brings it in, and is that layer needed for an answer?"
        ) from error
    with runtime:
        yield runtime


def _ask(model: keras.Model, images: np.ndarray) -> np.ndarray:
    """Call the layers one by one: no graph is traced, and no warning of many graphs comes."""
    return keras.ops.convert_to_numpy(model(images, training=False))


def _require_names(runtime: OnnxRuntime) -> None:
    for role, specs, wanted in (
        ("input", runtime.inputs, "image"),
        ("output", runtime.outputs, "probabilities"),
    ):
        names = [spec.name for spec in specs]
        if names != [wanted]:
            raise NotYet(f"the {role} is named {', '.join(names)}, not {wanted}.")


def _require_answers(runtime: OnnxRuntime, model: keras.Model, images: np.ndarray) -> None:
    """Demand the model's answers at several batch sizes."""
    expected = _ask(model, images)
    differences = []
    for size in BATCH_SIZES:
        try:
            answers = runtime(images[:size])
        except Exception as error:  # in the runtime's own words: its errors have no common type
            raise NotYet(
                f"the file takes no batch of {size} images: {shorten(error)} What is fixed in it?"
            ) from error
        if not np.isfinite(answers).all():
            raise NotYet("the file answers NaN.")
        differences.append(float(np.abs(answers - expected[:size]).max()))
    if max(differences) > TOLERANCE:  # the largest tells most about the mistake
        raise NotYet(_explain(max(differences), runtime, model, images))


def _explain(
    difference: float, runtime: OnnxRuntime, model: keras.Model, images: np.ndarray
) -> str:
    """Say what a difference looks like, for the mistakes that can be told apart."""
    text = f"the file loads, but its probabilities differ by {difference:.0e}"
    raw = _ask(model, images * GREY_LEVELS)  # as if nothing divided the grey levels
    if np.abs(runtime(images) - raw).max() < 10 * TOLERANCE:
        return f"{text}. It answers as if nobody had divided the grey levels by {GREY_LEVELS}."
    if difference < NEARLY:
        return f"{text}: much more than rounding (1e-7). A formula in it is only nearly the same."
    return f"{text}: it is another model. Did it get the weights, and every layer that matters?"


def check_export_named(function: Callable[[keras.Model, Path], Any]) -> Feedback:
    """Check exercise 1: `function(model, path)` writes an ONNX file with names of its own.

    The input must be `image`, the output `probabilities`, and any number of rows must be taken.
    """
    return give_feedback(lambda: _export_named(function))


def _export_named(function: Callable[[keras.Model, Path], Any]) -> str:
    model = build_classifier()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.onnx"
        _call_converter(function, model, path)
        with _opened(path) as runtime:
            _require_names(runtime)
            _require_answers(runtime, model, draw_images())
    return "image goes in, probabilities come out, for 1, 7 and 32 rows, as from Keras."


def check_is_deployable(function: Callable[[Path, keras.Model, np.ndarray], Any]) -> Feedback:
    """Check exercise 2: `function(path, model, images)` says whether a file may be shipped."""
    return give_feedback(lambda: _is_deployable(function))


FAULTS = {
    "unknown operator": "that no runtime can load",
    "other weights": "with other weights, whose labels are wrong",
    "one weight": "in which one weight was changed",
    "fixed batch": "that takes one image at a time",
}
HINTS = {
    "one weight": " All its labels are right. Are the probabilities compared, and how closely?"
}


def _is_deployable(function: Callable[[Path, keras.Model, np.ndarray], Any]) -> str:
    model = build_classifier()
    with tempfile.TemporaryDirectory() as folder:
        paths = write_candidates(model, Path(folder))
        for name in CANDIDATES:
            accepted = _verdict(function, name, paths[name], model)
            if accepted and name in FAULTS:
                raise NotYet(f"it accepted a file {FAULTS[name]}.{HINTS.get(name, '')}")
            if not accepted and name not in FAULTS:
                raise NotYet(
                    "it refused the sound file, whose answers differ from those of Keras by "
                    "rounding only (1e-7)."
                )
    return f"one of {len(CANDIDATES)} files may be shipped, and it is the right one."


def _verdict(
    function: Callable[[Path, keras.Model, np.ndarray], Any],
    name: str,
    path: Path,
    model: keras.Model,
) -> bool:
    try:
        verdict = call_answer(function, path, model, draw_images())
    except NotYet as hint:
        if isinstance(hint.__cause__, NotImplementedError) or name not in FAULTS:
            raise
        raise NotYet(f"a file {FAULTS[name]} must get the answer False, but {hint}") from hint
    if not isinstance(verdict, bool | np.bool):
        raise NotYet(f"it returned {type(verdict).__name__}. Return True or False.")
    return bool(verdict)


def check_make_deployable(function: Callable[[keras.Model, Path], Any]) -> Feedback:
    """Check exercise 3: `function(model, path)` writes an ONNX file of a model that resists.

    The model turns its images at random while it trains, takes raw grey levels, and has an
    activation that tf2onnx cannot convert.
    """
    return give_feedback(lambda: _make_deployable(function))


def _make_deployable(function: Callable[[keras.Model, Path], Any]) -> str:
    model = build_stubborn_model()
    images = draw_images()
    expected = _ask(model, images)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.onnx"
        _call_converter(function, model, path)
        if model.get_layer("hidden").activation is not keras.activations.gelu:
            raise NotYet("the model in memory was changed. Its owner still trains it: use a copy.")
        if not np.array_equal(_ask(model, images), expected):
            raise NotYet("the weights of the model in memory changed. Work on a copy.")
        with _opened(path) as runtime:
            _require_names(runtime)
            _require_answers(runtime, model, images)
    return "the file loads, and it answers to raw grey levels as the model does."
