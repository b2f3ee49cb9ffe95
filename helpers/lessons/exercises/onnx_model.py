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

from helpers.formats import ArtifactError, OnnxRuntime, load_onnx
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
    build_classifier,
    build_stubborn,
    draw_images,
    write_candidates,
)

TOLERANCE = 1e-5
"""Probabilities of a faithful ONNX file differ from those of Keras by about 1e-7."""
NEARLY = 0.01
"""Over 12 seeds, a formula that is nearly the same differs by 3e-4 at most, another one by 0.05."""


@exercise
def check_export_named(function: Callable[[keras.Model, Path], Any]) -> str:
    """Check exercise 1: `function(model, path)` writes an ONNX file with names of its own.

    The input must be `image`, the output `probabilities`, and any number of rows must be taken.
    """
    model = build_classifier()
    with written_by(_quietly(function), model, "model.onnx", "onnx") as path:
        _require_answers(path, model, draw_images())
    return f"image goes in, probabilities come out, for {SIZES} rows, as from Keras."


@exercise
def check_make_deployable(function: Callable[[keras.Model, Path], Any]) -> str:
    """Check exercise 3: `function(model, path)` writes an ONNX file of a model that resists.

    The model turns its images at random while it trains, takes raw grey levels, and has an
    activation that tf2onnx cannot convert.
    """
    model = build_stubborn()
    images = draw_images()
    expected = _ask(model, images)
    with written_by(_quietly(function), model, "model.onnx", "onnx") as path:
        kept = model.get_layer("hidden").activation is keras.activations.gelu
        require(kept, "the model in memory was changed. Its owner still trains it: use a copy.")
        kept = np.array_equal(_ask(model, images), expected)
        require(kept, "the weights of the model in memory changed. Work on a copy.")
        _require_answers(path, model, images)
    return "the file loads, and it answers to raw grey levels as the model does."


def _quietly(function: Callable[..., Any]) -> Callable[..., Any]:
    """Wrap the answer: what tf2onnx logs about operators comes back in the feedback instead."""

    def call(*arguments: object) -> Any:
        before = logging.root.manager.disable
        logging.disable(logging.ERROR)
        try:
            return function(*arguments)
        finally:
            logging.disable(before)

    return call if callable(function) else function


def _ask(model: keras.Model, images: np.ndarray) -> np.ndarray:
    """Call the layers one by one: no graph is traced, and no warning of many graphs comes."""
    return keras.ops.convert_to_numpy(model(images, training=False))


def _require_answers(path: Path, model: keras.Model, images: np.ndarray) -> None:
    """Demand the names of the exercises, and the model's answers at several batch sizes."""
    expected = _ask(model, images)
    differences = []
    with _opened(path) as runtime:
        _require_names(runtime)
        for size in BATCH_SIZES:
            try:
                answers = runtime(images[:size])
            except Exception as error:  # in the runtime's words: its errors have no common type
                raise NotYet(
                    f"the file takes no batch of {size} images: {shorten(error)} What is fixed in "
                    "it?"
                ) from error
            require(np.isfinite(answers).all(), "the file answers NaN.")
            differences.append(float(np.abs(answers - expected[:size]).max()))
        if max(differences) > TOLERANCE:  # the largest tells most about the mistake
            raise NotYet(_explain(max(differences), runtime, model, images))


@contextmanager
def _opened(path: Path) -> Iterator[OnnxRuntime]:
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


def _require_names(runtime: OnnxRuntime) -> None:
    for role, specs, wanted in (
        ("input", runtime.inputs, "image"),
        ("output", runtime.outputs, "probabilities"),
    ):
        names = [spec.name for spec in specs]
        require(names == [wanted], f"the {role} is named {', '.join(names)}, not {wanted}.")


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


FAULTS = {
    "unknown operator": "that no runtime can load",
    "other weights": "with other weights, whose labels are wrong",
    "one weight": "in which one weight was changed",
    "fixed batch": "that takes one image at a time",
}
HINTS = {
    "one weight": " All its labels are right. Are the probabilities compared, and how closely?"
}


@exercise
def check_is_deployable(function: Callable[[Path, keras.Model, np.ndarray], Any]) -> str:
    """Check exercise 2: `function(path, model, images)` says whether a file may be shipped."""
    model = build_classifier()
    with tempfile.TemporaryDirectory() as folder:
        paths = write_candidates(model, Path(folder))
        for name, path in paths.items():
            if name in FAULTS:
                accepted = _verdict(function, path, model, f"a file {FAULTS[name]}")
                require(not accepted, f"it accepted a file {FAULTS[name]}.{HINTS.get(name, '')}")
            else:
                require(
                    _verdict(function, path, model),
                    "it refused the sound file, whose answers differ from those of Keras by "
                    "rounding only (1e-7).",
                )
    return f"one of {len(paths)} files may be shipped, and it is the right one."


def _verdict(
    function: Callable[[Path, keras.Model, np.ndarray], Any],
    path: Path,
    model: keras.Model,
    faulty: str = "",
) -> bool:
    """Ask the answer about a file; `faulty` says what is wrong with it, if anything is."""
    try:
        verdict = call_answer(function, path, model, draw_images())
    except NotYet as hint:
        if isinstance(hint.__cause__, NotImplementedError) or not faulty:
            raise
        raise NotYet(f"{faulty} must get the answer False, but {hint}") from hint
    found = type(verdict).__name__
    require(isinstance(verdict, bool | np.bool), f"it returned {found}. Return True or False.")
    return bool(verdict)
