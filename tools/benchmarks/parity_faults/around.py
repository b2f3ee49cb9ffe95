"""Faults before, behind and around a sound model."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path

import keras
import numpy as np
import onnx
from keras import layers

from helpers.formats import Runtime, load_onnx, load_saved_model
from parity_faults.case import Case, Fault, listed
from routes import write_artifact


class Around(Runtime):
    """A sound model with a fault before or behind it.

    Args:
        model: the sound runtime.
        before, behind: change the list of inputs or of outputs of one call.
    """

    def __init__(self, model: Runtime, before: Callable | None, behind: Callable | None) -> None:
        self._model, self._before, self._behind = model, before, behind
        super().__init__("faulty", model.inputs, model.outputs)

    def _run(self, feeds: dict[str, np.ndarray]) -> list[np.ndarray]:
        arrays = list(feeds.values())
        arrays = self._before(arrays) if self._before else arrays
        answers = self._model.prepare(arrays)()
        return self._behind(answers) if self._behind else answers


def before(change: Callable[[np.ndarray], np.ndarray | str]) -> Fault:
    """Change the images on the way in."""

    def plant(case: Case) -> Runtime | str:
        if isinstance(reason := change(listed(case.inputs)[0]), str):
            return reason
        return Around(case.source, lambda arrays: [change(arrays[0]), *arrays[1:]], None)

    return plant


def behind(change: Callable[[np.ndarray], np.ndarray]) -> Fault:
    """Change every output on the way out."""
    return lambda case: Around(case.source, None, lambda answers: [change(a) for a in answers])


def unscaled(images: np.ndarray) -> np.ndarray:
    """Feed what the camera gives: 0 to 16 for digits, 0 to 255 for photographs."""
    return 16 * images if images.min() >= 0 else 127.5 * (images + 1)


def other_channel_order(images: np.ndarray) -> np.ndarray | str:
    """Feed blue, green, red."""
    return np.ascontiguousarray(images[..., ::-1]) if images.shape[-1] == 3 else "one channel"


def swap_outputs(case: Case) -> Runtime | str:
    """Give the outputs each other's names."""
    if len(case.source.outputs) == 1:
        return "one output"
    return Around(case.source, None, lambda answers: answers[::-1])


def wrong_second_input(case: Case) -> Runtime | str:
    """Compute the second input in another order."""
    if len(case.source.inputs) == 1:
        return "one input"
    return Around(case.source, lambda arrays: [arrays[0], arrays[1][:, ::-1].copy()], None)


def previous_answer(case: Case) -> Runtime | str:
    """Answer with what the call before computed: a buffer that is read too early."""
    kept: list[list[np.ndarray]] = []

    def late(answers: list[np.ndarray]) -> list[np.ndarray]:
        kept.append(answers)
        return kept[-2] if len(kept) > 1 and len(kept[-2][0]) == len(answers[0]) else answers

    return Around(case.source, None, late)


def augmentation_left_on(case: Case) -> Runtime | str:
    """Export a model that starts with an augmentation layer, by `model.export`."""
    if len(case.source.inputs) > 1:
        return "two inputs"
    x = keras.Input(case.model.inputs[0].shape[1:])
    model = keras.Model(x, case.model(layers.RandomFlip("horizontal", seed=1)(x)))
    with tempfile.TemporaryDirectory() as folder:
        return load_saved_model(write_artifact(model, "export", Path(folder) / "augmented"))


def fixed_batch(case: Case) -> Runtime | str:
    """Write an ONNX file that takes one row only."""
    with tempfile.TemporaryDirectory() as folder:
        try:
            path = write_artifact(case.model, "onnx", Path(folder) / "fixed")
            model = onnx.load(path)
            for value in model.graph.input:
                value.type.tensor_type.shape.dim[0].dim_value = 1
            onnx.save(model, path)
            return load_onnx(path)
        except ValueError:
            return "does not convert to ONNX"
