"""Can these inputs show a fault at all? A comparison proves nothing when they cannot."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, TypeVar

import numpy as np

from helpers.formats import KerasRuntime
from helpers.formats.tensors import Arrays, name_arrays
from helpers.parity.compare import Outputs, compare_outputs, is_float, may_be_rounding
from helpers.parity.golden import float64_reference
from helpers.parity.spread import measure_spread
from helpers.tables import counted

if TYPE_CHECKING:
    import keras

Tensor = TypeVar("Tensor")

DAMAGED_TENSORS = 8

SAME_ANSWER = 1e-5
"""Rows have one answer when they differ by less than this part of the largest value.

Equal rows of one batch need not be equal to the last bit: a processor may compute the last rows of
a batch with other instructions. For float32 that is some 1e-7, and up to 2e-6 in deep models.
"""


class ProbeError(ValueError):
    """Inputs on which a damaged model looks like the sound one."""


@dataclass(frozen=True)
class ProbeReport:
    """What the probe was tried on.

    Attributes:
        rows: number of inputs.
        damaged_tensors: the weight tensors in which one weight was set to zero, each time noticed.
        whole: True when all of a tensor was set to zero, not one weight of it.
    """

    rows: int
    damaged_tensors: tuple[str, ...]
    whole: bool = False

    def __repr__(self) -> str:
        count = len(self.damaged_tensors)
        if self.whole:
            return f"Probe of {self.rows} rows: noticed each of {count} tensors set to zero"
        return f"Probe of {self.rows} rows: noticed one zeroed weight in each of {count} tensors"


def check_probe(model: keras.Model, inputs: Arrays, golden: Outputs | None = None) -> ProbeReport:
    """Prove that a comparison on `inputs` can fail, by damaging the model on purpose.

    In up to eight weight tensors, spread from the first layer to the last, the largest weight is
    set to zero, one tensor at a time. Each damaged model must fail the comparison with the sound
    one. The weights are put back in any case.

    Args:
        model: the sound model.
        inputs: as the model takes them.
        golden: what `float64_reference` answered to the same inputs; computed when not given.

    Raises:
        ProbeError: all rows get the same answer (see `SAME_ANSWER`), an answer is NaN or infinite,
            there is nothing to damage, or a damage goes unnoticed.
        GoldenError: see `float64_reference`.
        InputError: the inputs do not fit the model.
    """
    runtime = KerasRuntime(model)
    sound = runtime(inputs)
    named = sound if isinstance(sound, dict) else {runtime.outputs[0].name: sound}
    rows = len(next(iter(named.values())))
    refuse_one_answer(named)
    if golden is None:
        golden = float64_reference(model, inputs)
    if not (report := compare_outputs(sound, sound)).passed:
        raise ProbeError(f"the sound model itself fails: {'; '.join(report.findings)}.")
    # All weights, not only the trainable ones: a frozen layer can be damaged too.
    kernels = [weight for weight in model.weights if _must_matter(weight)]
    if not kernels:
        raise ProbeError(f"'{model.name}' has no weight tensor of two axes or more to damage.")
    tensors = spread_out(kernels)
    feeds = name_arrays(inputs, runtime.inputs)
    spread = cache(lambda: measure_spread(runtime, feeds, rows))  # when it is first needed
    unnoticed = []
    for tensor in tensors:
        with _largest_weight_zeroed(tensor):
            damaged = runtime(inputs)
        report = compare_outputs(damaged, sound, golden)
        if may_be_rounding(report):  # as `check_parity` would find
            report = compare_outputs(damaged, sound, golden, spread=spread())
        if report.passed:
            unnoticed.append(tensor.path)
    if unnoticed:
        raise ProbeError(
            f"a damaged model passes on these {rows} rows: the largest weight of "
            f"{', '.join(unnoticed)} can be set to zero without notice. "
            "Use more, and more varied, inputs: real ones if you have them."
        )
    return ProbeReport(rows, tuple(tensor.path for tensor in tensors))


def spread_out(tensors: Sequence[Tensor]) -> list[Tensor]:
    """Pick up to eight of them, from the first to the last."""
    picks = np.linspace(0, len(tensors) - 1, min(DAMAGED_TENSORS, len(tensors))).round()
    return [tensors[int(pick)] for pick in picks]


def refuse_one_answer(answers: Mapping[str, np.ndarray]) -> None:
    """Refuse rows that all get the same answer.

    Raises:
        ProbeError: see `SAME_ANSWER`.
    """
    for name, array in answers.items():
        if len(array) < 2 or _is_one_answer(array):
            raise ProbeError(
                f"the output '{name}' is the same in {counted(len(array), 'row')}, so it cannot "
                "show a fault. Use at least two different inputs, and a trained or calibrated "
                "model."
            )


def _is_one_answer(array: np.ndarray) -> bool:
    """Tell whether all rows are the same, up to rounding where the values are rounded."""
    if not is_float(array) or not np.isfinite(array).all():
        return bool(np.all(array == array[:1]))
    wide = array.astype(np.float64)
    return bool(np.abs(wide - wide[:1]).max() <= SAME_ANSWER * np.abs(wide).max())


def _must_matter(weight: keras.Variable) -> bool:
    """Leave out weights that a sound probe may miss.

    An embedding row matters only when its token occurs, the key bias of an attention layer cancels
    out in its softmax, and a matrix of zeros, as LoRA begins with, cannot be damaged so.
    """
    named = any(part in weight.name for part in ("bias", "embedding"))
    return len(weight.shape) >= 2 and not named and bool(np.any(weight.numpy()))


@contextmanager
def _largest_weight_zeroed(tensor: keras.Variable) -> Iterator[None]:
    values = np.array(tensor.numpy())
    damaged = values.copy()
    damaged.flat[np.abs(values).argmax()] = 0.0
    tensor.assign(damaged)
    try:
        yield
    finally:
        tensor.assign(values)
