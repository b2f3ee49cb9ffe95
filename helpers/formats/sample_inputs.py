"""Inputs for a model whose real inputs are not at hand, made from what the artifact asks for."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from helpers.formats.tensors import InputError, TensorSpec
from helpers.tables import counted

DYNAMIC_LENGTH = 32


@dataclass(frozen=True)
class SampleInputs:
    """Made-up inputs: right for timing, wrong for judging answers.

    Attributes:
        arrays: by input name.
        notes: what was chosen where the artifact leaves a choice.
    """

    arrays: dict[str, np.ndarray]
    notes: tuple[str, ...] = ()


def sample_inputs(
    specs: Sequence[TensorSpec],
    rows: int = 32,
    seed: int = 0,
    dynamic_length: int = DYNAMIC_LENGTH,
) -> SampleInputs:
    """Make random inputs that a model accepts.

    Floats are uniform in [0, 1). Integers are 0 or 1, which are valid indices into every vocabulary
    of two entries. Text is a few short words.

    Args:
        specs: the inputs of the model, such as `Runtime.inputs`.
        rows: the length of the first axis, unless the artifact fixes it.
        seed: the same seed gives the same inputs.
        dynamic_length: for every other axis of any length, such as the words of a text.

    Raises:
        InputError: an input without a stated shape, or of a type that is not handled.
        ValueError: `rows` or `dynamic_length` is below 1.
    """
    for name, value in (("rows", rows), ("dynamic_length", dynamic_length)):
        if value < 1:
            raise ValueError(f"{name}: expected a whole number from 1 on, got {value}")
    random = np.random.default_rng(seed)
    arrays, notes = {}, []
    for spec in specs:
        shape, choices = _choose_shape(spec, rows, dynamic_length)
        arrays[spec.name] = _fill(spec, shape, random)
        notes.extend(choices)
    return SampleInputs(arrays, tuple(notes))


def _choose_shape(
    spec: TensorSpec, rows: int, dynamic_length: int
) -> tuple[tuple[int, ...], list[str]]:
    if spec.shape is None:
        raise InputError(
            f"input '{spec.name}': the artifact states no shape, so no inputs can be made up. "
            "Give inputs of your own."
        )
    lengths, notes = [], []
    for axis, length in enumerate(spec.shape):
        if length is None:
            length = rows if axis == 0 else dynamic_length
            if axis > 0:
                notes.append(f"input '{spec.name}': axis {axis} may have any length; used {length}")
        elif axis == 0 and length != rows:
            notes.append(
                f"input '{spec.name}': the artifact takes {counted(length, 'row')} at a time only"
            )
        lengths.append(length)
    return tuple(lengths), notes


def _fill(spec: TensorSpec, shape: tuple[int, ...], random: np.random.Generator) -> np.ndarray:
    if spec.dtype == "string":
        words = np.array(["a", "model", "reads", "words"], dtype=object)
        return words[random.integers(0, len(words), shape)]
    try:
        dtype = np.dtype(spec.dtype)
    except TypeError:
        dtype = np.dtype(object)
    if dtype.kind == "f":
        return random.random(shape).astype(dtype)
    if dtype.kind in "iub":
        return random.integers(0, 2, shape).astype(dtype)
    raise InputError(
        f"input '{spec.name}': no inputs of dtype {spec.dtype} can be made up, only floats, "
        "integers, booleans and text. Give inputs of your own."
    )
