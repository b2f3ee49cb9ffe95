"""The golden rule: a faithful copy is not much further from the float64 run than its source is.

How far it may be is measured where it matters. A source can be luckier than its arithmetic: then a
faithful copy that adds in another order, or that folds a normalization into a convolution, has
several times its error. So the allowed error is the larger one of two:

- a multiple of the source's own error, see `GOLDEN_FACTOR` and `POSITION_FACTOR`;
- a multiple of the spread of the source's answers when its last bits change, see `SPREAD_FACTOR`
  and `helpers.parity.spread`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

GOLDEN_FACTOR = 2.0
"""How many times the source's own rounding error a faithful copy may have, besides the floor.

Measured on six model families: faithful copies stay below 1.7, a copy with one weight set to zero
lies in the hundreds or thousands, and seldom below 10.
"""

POSITION_FACTOR = 5.0
POSITION_ROWS = 24
"""The same at each output position by itself, over the rows, when there are so many rows.

One wrong class of 1,000 hardly changes the error over all classes. Measured on MobileNetV2 with 32
rows: the worst position of a faithful copy lies at 1.7 to 2.4; with one bias shifted by 1e-4 at 11
to 26, where all positions together are at 1.0 to 1.1. Few rows prove little: with 8 of them, a
faithful copy reached 6.7 and a faulty one stayed at 6.6.
"""

SPREAD_FACTOR = 3.0
"""How many times the spread of the source's answers a faithful copy may be off.

Measured on 37 model families (see `tools/benchmarks/parity_families.py`): where a faithful copy
exceeds the factors above, it lies at 0.5 to 0.9 times the spread over all values, and at 1.4 at its
worst position. The smallest of 50 planted faults lie at 8 (one bias of MobileNetV2 shifted by 1e-4,
at one position) and 10; one weight set to zero lies at 25 and more.
"""

EPSILONS = {"float64": 2.0**-52, "float32": 2.0**-23, "float16": 2.0**-10, "bfloat16": 2.0**-7}
"""The distance from 1 to the next number of each dtype."""

FLOAT32_EPSILON = EPSILONS["float32"]
"""The distance from 1 to the next float32; times the size of the outputs, it is the floor."""


class GoldenArray(np.ndarray):
    """A golden output that knows which layers did not compute in float64. Axis 0 is the batch.

    Attributes:
        float32_layers: their names.
        doubt: how far their rounding moves the answer: the root mean square over the rows, one
            value for each output position.
    """

    float32_layers: tuple[str, ...] = ()
    doubt: np.ndarray | None = None

    @classmethod
    def of(cls, array: np.ndarray, float32_layers: tuple[str, ...], doubt: np.ndarray) -> Any:
        """Add the two facts to a plain array."""
        golden = np.asarray(array).view(cls)
        golden.float32_layers, golden.doubt = float32_layers, doubt
        return golden

    def __array_finalize__(self, other: Any) -> None:
        """Hand the facts on to slices and copies."""
        self.float32_layers = getattr(other, "float32_layers", ())
        self.doubt = getattr(other, "doubt", None)

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        """Keep the facts in a pickle."""
        return type(self).of, (np.asarray(self), self.float32_layers, self.doubt)


def golden_findings(
    given: np.ndarray, expected: np.ndarray, golden: np.ndarray, spread: np.ndarray | None = None
) -> tuple[float, list[str]]:
    """Apply the rule to all values together, then to each position by itself.

    Args:
        given, expected, golden: float64 arrays of one shape: candidate, source, golden run.
        spread: what the source's answers differ by when its last bits change; axis 0 are draws.

    Returns:
        the error ratio of all values, and what is wrong.

    Raises:
        ValueError: see `error_ratio`.
    """
    ratio = error_ratio(given, expected, golden)
    allowed = float(_allowed(expected, golden, spread, GOLDEN_FACTOR, by_position=False))
    if ratio > allowed:
        return ratio, [
            f"the error against the float64 run is {ratio:.3g} times the source's own "
            f"(allowed: {allowed:.3g})"
        ]
    if golden.ndim > 1 and len(golden) >= POSITION_ROWS:
        ratios = _error_ratios(given, expected, golden, by_position=True)
        limits = _allowed(expected, golden, spread, POSITION_FACTOR, by_position=True)
        limits = np.broadcast_to(limits, ratios.shape)
        worst = np.unravel_index((ratios / limits).argmax(), ratios.shape)
        if ratios[worst] > limits[worst]:
            return ratio, [
                f"at position {tuple(map(int, worst))} of the rows, the error against the float64 "
                f"run is {ratios[worst]:.3g} times the source's own (allowed: {limits[worst]:.3g})"
            ]
    return ratio, []


def error_ratio(given: np.ndarray, expected: np.ndarray, golden: np.ndarray) -> float:
    """Return the candidate's error against golden as a multiple of the source's error.

    The error is the RMSE, the root of the mean squared error, plus a floor of `FLOAT32_EPSILON`
    times the size of the outputs. Equal errors give 1. The floor matters in shallow models: there
    the source can be almost exact by luck, and a faithful copy that adds its numbers in another
    order must not be blamed. A ratio of at most 2 means
    ``RMSE(candidate) <= 2 * RMSE(source) + floor``. The doubt of a `GoldenArray` is added to the
    floor: a golden run cannot judge what it does not know better.

    Args:
        given, expected, golden: arrays of one shape: candidate, source, float64 run.

    Raises:
        ValueError: the shapes differ, or golden is not the same model: the source is more than 5%
            away from it, which no rounding explains.
    """
    if golden.shape != expected.shape:
        raise ValueError(f"the golden run has shape {golden.shape}, the source {expected.shape}")
    size = _rms(golden)
    source_rmse = _rms(expected - golden)
    if not (np.isfinite(size) and source_rmse <= 0.05 * size):
        raise ValueError(
            f"the golden run is not a run of the source: they differ by {source_rmse:.2g} on "
            f"outputs of size {size:.2g}. Give both the same inputs and the same weights."
        )
    return float(_error_ratios(given, expected, golden, by_position=False))


def _error_ratios(
    given: np.ndarray, expected: np.ndarray, golden: np.ndarray, *, by_position: bool
) -> np.ndarray:
    """Return one ratio for all values, or one for each position of a row."""
    floor = _floor(golden, by_position=by_position)
    axis = 0 if by_position else None
    return (_rms(given - golden, axis) + floor) / (_rms(expected - golden, axis) + floor)


def _allowed(
    expected: np.ndarray,
    golden: np.ndarray,
    spread: np.ndarray | None,
    factor: float,
    *,
    by_position: bool,
) -> np.ndarray:
    """Return the largest ratio that the source's own error, or else its spread, explains."""
    if spread is None:
        return np.asarray(factor)
    floor = _floor(golden, by_position=by_position)
    errors = _rms(expected - golden, 0 if by_position else None)
    spreads = _rms(spread, (0, 1) if by_position else None)
    return np.maximum(factor, (SPREAD_FACTOR * spreads + floor) / (errors + floor))


def _floor(golden: np.ndarray, *, by_position: bool) -> np.ndarray:
    floor = max(FLOAT32_EPSILON * _rms(golden), np.finfo(np.float64).tiny)
    doubt = getattr(golden, "doubt", None)
    if doubt is None:
        return np.asarray(floor)
    by_position = by_position and doubt.shape == golden.shape[1:]  # else it was cut or reshaped
    return floor + np.asarray(doubt if by_position else _rms(doubt))


def _rms(values: np.ndarray, axis: int | tuple[int, ...] | None = None) -> np.ndarray:
    return np.sqrt(np.mean(np.square(np.asarray(values)), axis=axis))
