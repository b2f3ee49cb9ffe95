"""Compare the outputs of a deployed model with those of its source."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType

import numpy as np

from helpers.parity.golden_rule import EPSILONS, FLOAT32_EPSILON, golden_findings
from helpers.parity.pairing import other_order, pair_outputs
from helpers.parity.report import OutputComparison, ParityReport

ATOL = 1e-5
RTOL = 1e-4

TOLERANCE_SPREAD = 8.0
"""How many times its spread a value may be off, where that is more than the tolerances."""

NO_ROUNDING = 1000.0
"""From this error ratio on, the spread is not measured: in 37 families it explains up to 30."""

WIDE = 0.01
"""A spread of more than this part of the answers explains nearly everything."""

Outputs = np.ndarray | Mapping[str, np.ndarray]


def compare_outputs(
    candidate: Outputs,
    source: Outputs,
    golden: Outputs | None = None,
    *,
    atol: float = ATOL,
    rtol: float = RTOL,
    spread: Mapping[str, np.ndarray] | None = None,
    layers: Mapping[str, str] = MappingProxyType({}),
) -> ParityReport:
    """Compare finished outputs, output by output.

    Args:
        candidate: what the deployed model answered: one array, or arrays by output name.
        source: what the source model answered to the same inputs.
        golden: what `float64_reference` answered to the same inputs.
        atol, rtol: an element fails when ``|c - s|`` exceeds both ``atol`` and ``rtol * |s|``. In
            outputs of half precision, rtol is at least two of their steps.
        spread: what `measure_spread` found for the source, by output name: differences within a
            multiple of it are no fault.
        layers: the layers that the source's outputs come from, by the names of the outputs.

    Outputs of two mappings are matched by name when the names agree, or those of the layers; else
    by position, since converters rename outputs but keep their order.

    Raises:
        ValueError: the numbers of outputs differ, nothing was compared, or `golden` is not a run
            of the source.
    """
    sources = as_mapping(source)
    candidates = pair_outputs(as_mapping(candidate), sources, "candidate", layers)
    goldens: Mapping[str, np.ndarray] = {}
    if golden is not None:
        given = pair_outputs(as_mapping(golden), sources, "golden run", {})
        goldens = dict(zip(sources, given.values(), strict=True))

    def compare(name: str, given: np.ndarray) -> OutputComparison:
        facts = _Facts(goldens.get(name), (spread or {}).get(name), atol, rtol)
        return _compare_arrays(name, np.asarray(given), np.asarray(sources[name]), facts)

    pairs = zip(sources, candidates.values(), strict=True)
    comparisons = tuple(compare(name, given) for name, given in pairs)
    notes = [_doubt_of(goldens), _width_of(spread or {}, sources)]
    if not all(each.passed for each in comparisons):
        names = list(sources)
        notes.append(
            other_order(names, candidates, lambda i, x: compare(names[i], candidates[x]).passed)
        )
    return ParityReport(comparisons, tuple(filter(None, notes)))


def may_be_rounding(report: ParityReport) -> bool:
    """Tell whether a failed output is so close that the spread of the source could explain it."""
    return any(
        not each.passed and each.max_abs > 0 and (each.rmse_ratio or 0.0) < NO_ROUNDING
        for each in report.comparisons
    )


def as_mapping(outputs: Outputs) -> Mapping[str, np.ndarray]:
    """Give a single output a name, so that one and several are handled alike."""
    return outputs if isinstance(outputs, Mapping) else {"output": np.asanyarray(outputs)}


@dataclass(frozen=True)
class _Facts:
    """What is known of one output besides the two answers."""

    golden: np.ndarray | None
    spread: np.ndarray | None
    atol: float
    rtol: float


def _doubt_of(goldens: Mapping[str, np.ndarray]) -> str:
    """Say which layers of a golden run are not golden; nothing when all of them are."""
    found = (name for each in goldens.values() for name in getattr(each, "float32_layers", ()))
    if not (names := list(dict.fromkeys(found))):
        return ""
    return (
        f"the golden run is not float64 throughout: {', '.join(names)} answered in float32. Their "
        "rounding was measured, and errors of that size are not judged."
    )


def _width_of(spread: Mapping[str, np.ndarray], sources: Mapping[str, np.ndarray]) -> str:
    """Say where a spread is so wide that a comparison proves little; nothing when it is not."""
    wide = [
        f"'{name}'"
        for name, moved in spread.items()
        if np.mean(np.square(moved)) > WIDE**2 * np.mean(np.square(sources[name].astype(float)))
    ]
    if not wide:
        return ""
    return (
        f"parity proves little for {', '.join(wide)}: other last bits of the source's numbers move "
        f"its own answers by more than {WIDE:.0%} of their size."
    )


def _compare_arrays(
    name: str, given: np.ndarray, expected: np.ndarray, facts: _Facts
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
    # Neighbours in half precision differ by more than the relative tolerance of float32.
    step = EPSILONS.get(expected.dtype.name, 0.0)
    rtol = max(facts.rtol, 2 * step) if step > FLOAT32_EPSILON else facts.rtol
    result = _apply_tolerances(result, wide_given, wide_expected, replace(facts, rtol=rtol))
    if facts.golden is None:
        return result
    ratio, found = golden_findings(wide_given, wide_expected, facts.golden, facts.spread)
    return replace(result, findings=(*result.findings, *found), rmse_ratio=ratio)


def is_float(array: np.ndarray) -> bool:
    """Tell whether the values are rounded numbers. By name, as bfloat16 is of no kind in NumPy."""
    return "float" in array.dtype.name


def _apply_tolerances(
    result: OutputComparison, given: np.ndarray, expected: np.ndarray, facts: _Facts
) -> OutputComparison:
    difference = np.abs(given - expected)
    with np.errstate(divide="ignore", invalid="ignore"):  # 0 / 0 is NaN, which exceeds nothing
        relative = difference / np.abs(expected)
    judged = difference > TOLERANCE_SPREAD * _spread_of_values(facts.spread)
    atol, rtol = facts.atol, facts.rtol
    failed = int(np.sum((difference > atol) & (relative > rtol) & judged))
    # What would have passed: with one tolerance fixed, the other must cover what is left.
    atol_needed = float(np.max(difference, where=(relative > rtol) & judged, initial=0.0))
    rtol_needed = float(np.max(relative, where=(difference > atol) & judged, initial=0.0))
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


def _spread_of_values(spread: np.ndarray | None) -> np.ndarray:
    """Return the spread of each value: its own, its row's or its position's, whichever is largest.

    Its own comes from a few draws only, and may be small by luck.
    """
    if spread is None:
        return np.asarray(-1.0)  # below any difference: every one is judged
    squares = np.square(spread).mean(axis=0)
    features = tuple(range(1, squares.ndim))
    rows = squares.mean(axis=features, keepdims=True)
    return np.sqrt(np.maximum(np.maximum(squares, rows), squares.mean(axis=0, keepdims=True)))


def _label_flips(given: np.ndarray, expected: np.ndarray) -> int | None:
    if expected.ndim < 2 or expected.shape[-1] < 2:
        return None
    return int(np.sum(given.argmax(axis=-1) != expected.argmax(axis=-1)))
