"""Compare the outputs of a deployed model with those of its source."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from helpers.parity.report import OutputComparison, ParityReport

ATOL = 1e-5
RTOL = 1e-4

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

FLOAT32_EPSILON = 2.0**-23
"""The distance from 1 to the next float32; times the size of the outputs, it is the floor."""

Outputs = np.ndarray | Mapping[str, np.ndarray]


def compare_outputs(
    candidate: Outputs,
    source: Outputs,
    golden: Outputs | None = None,
    *,
    atol: float = ATOL,
    rtol: float = RTOL,
) -> ParityReport:
    """Compare finished outputs, output by output.

    Args:
        candidate: what the deployed model answered: one array, or arrays by output name.
        source: what the source model answered to the same inputs.
        golden: what `float64_reference` answered to the same inputs.
        atol, rtol: an element fails when ``|c - s|`` exceeds both ``atol`` and ``rtol * |s|``.

    Outputs of two mappings are matched by name when the names agree, else by position, since
    converters rename outputs but keep their order.

    Raises:
        ValueError: the numbers of outputs differ, nothing was compared, or `golden` is not a run
            of the source.
    """
    sources = as_mapping(source)
    candidates = _aligned(as_mapping(candidate), sources, "candidate")
    goldens: Sequence[np.ndarray | None] = [None] * len(sources)
    if golden is not None:
        goldens = _aligned(as_mapping(golden), sources, "golden run")
    return ParityReport(
        tuple(
            _compare_arrays(name, np.asarray(given), np.asarray(expected), exact, atol, rtol)
            for (name, expected), given, exact in zip(
                sources.items(), candidates, goldens, strict=True
            )
        )
    )


def as_mapping(outputs: Outputs) -> Mapping[str, np.ndarray]:
    """Give a single output a name, so that one and several are handled alike."""
    return outputs if isinstance(outputs, Mapping) else {"output": np.asarray(outputs)}


def _aligned(
    outputs: Mapping[str, np.ndarray], source: Mapping[str, np.ndarray], role: str
) -> list[np.ndarray]:
    if len(outputs) != len(source):
        raise ValueError(
            f"the source has {len(source)} output(s) ({', '.join(source)}), the {role} has "
            f"{len(outputs)} ({', '.join(outputs)}). Compare the same outputs."
        )
    if set(outputs) == set(source):
        return [outputs[name] for name in source]
    return list(outputs.values())


def _compare_arrays(
    name: str,
    given: np.ndarray,
    expected: np.ndarray,
    golden: np.ndarray | None,
    atol: float,
    rtol: float,
) -> OutputComparison:
    result = OutputComparison(name, None, expected.shape, ())
    findings = []
    if given.dtype != expected.dtype:
        findings.append(f"dtype is {given.dtype}, expected {expected.dtype}")
    if given.shape != expected.shape:
        findings.append(f"shape is {given.shape}, expected {expected.shape}")
        return replace(result, findings=tuple(findings))
    if not (is_float(given) and is_float(expected)):  # integers and text have no rounding
        different = int(np.sum(given != expected))
        if different:
            findings.append(f"{different} of {expected.size} values differ")
        return replace(result, findings=tuple(findings), max_abs=0.0 if not different else np.nan)
    for role, array in (("candidate", given), ("source", expected)):
        bad = int(np.sum(~np.isfinite(array)))
        if bad:
            findings.append(f"{bad} of {array.size} values of the {role} are NaN or infinite")
    result = replace(result, findings=tuple(findings))
    if not (np.isfinite(given).all() and np.isfinite(expected).all()):
        return result
    wide_given, wide_expected = given.astype(np.float64), expected.astype(np.float64)
    result = _apply_tolerances(result, wide_given, wide_expected, atol, rtol)
    if golden is None:
        return result
    return _apply_golden_rule(result, wide_given, wide_expected, np.asarray(golden))


def is_float(array: np.ndarray) -> bool:
    """Tell whether the values are rounded numbers. By name, as bfloat16 is of no kind in NumPy."""
    return "float" in array.dtype.name


def _apply_tolerances(
    result: OutputComparison, given: np.ndarray, expected: np.ndarray, atol: float, rtol: float
) -> OutputComparison:
    difference = np.abs(given - expected)
    with np.errstate(divide="ignore", invalid="ignore"):  # 0 / 0 is NaN, which exceeds nothing
        relative = difference / np.abs(expected)
    failed = int(np.sum((difference > atol) & (relative > rtol)))
    # What would have passed: with one tolerance fixed, the other must cover what is left.
    atol_needed = float(np.max(difference, where=relative > rtol, initial=0.0))
    rtol_needed = float(np.max(relative, where=difference > atol, initial=0.0))
    flips = _label_flips(given, expected)
    findings = list(result.findings)
    if failed:
        findings.append(
            f"{failed} of {difference.size} values differ by more than atol {atol:g} and "
            f"rtol {rtol:g} (atol {atol_needed:.2g} or rtol {rtol_needed:.2g} would have passed)"
        )
        if flips:  # without a failed value, a flip is a tie within the tolerance
            findings.append(f"{flips} of {expected.size // expected.shape[-1]} labels change")
    return replace(
        result,
        findings=tuple(findings),
        max_abs=float(difference.max(initial=0.0)),
        atol_needed=atol_needed,
        rtol_needed=rtol_needed,
        label_flips=flips,
    )


def _label_flips(given: np.ndarray, expected: np.ndarray) -> int | None:
    if expected.ndim < 2 or expected.shape[-1] < 2:
        return None
    return int(np.sum(given.argmax(axis=-1) != expected.argmax(axis=-1)))


def _apply_golden_rule(
    result: OutputComparison, given: np.ndarray, expected: np.ndarray, golden: np.ndarray
) -> OutputComparison:
    ratio = error_ratio(given, expected, golden)
    findings = list(result.findings)
    if ratio > GOLDEN_FACTOR:
        findings.append(
            f"the error against the float64 run is {ratio:.3g} times the source's own "
            f"(allowed: {GOLDEN_FACTOR:g})"
        )
    elif golden.ndim > 1 and len(golden) >= POSITION_ROWS:
        ratios = _error_ratios(given, expected, golden, axis=0)
        if ratios.max() > POSITION_FACTOR:
            place = tuple(map(int, np.unravel_index(ratios.argmax(), ratios.shape)))
            findings.append(
                f"at position {place} of the rows, the error against the float64 run is "
                f"{ratios.max():.3g} times the source's own (allowed: {POSITION_FACTOR:g})"
            )
    return replace(result, findings=tuple(findings), rmse_ratio=ratio)


def error_ratio(given: np.ndarray, expected: np.ndarray, golden: np.ndarray) -> float:
    """Return the candidate's error against golden as a multiple of the source's error.

    The error is the RMSE, the root of the mean squared error, plus a floor of `FLOAT32_EPSILON`
    times the size of the outputs. Equal errors give 1. The floor matters in shallow models: there
    the source can be almost exact by luck, and a faithful copy that adds its numbers in another
    order must not be blamed. A ratio of at most 2 means
    ``RMSE(candidate) <= 2 * RMSE(source) + floor``.

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
    return float(_error_ratios(given, expected, golden, axis=None))


def _error_ratios(
    given: np.ndarray, expected: np.ndarray, golden: np.ndarray, axis: int | None
) -> np.ndarray:
    """Return one ratio for all values (axis None), or one for each position of a row (axis 0)."""
    floor = max(FLOAT32_EPSILON * _rms(golden), np.finfo(np.float64).tiny)
    return (_rms(given - golden, axis) + floor) / (_rms(expected - golden, axis) + floor)


def _rms(values: np.ndarray, axis: int | None = None) -> np.ndarray:
    return np.sqrt(np.mean(np.square(values), axis=axis))
