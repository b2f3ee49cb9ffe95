"""What a comparison found: one record for each output, and the report that holds them."""

from __future__ import annotations

from dataclasses import dataclass, fields

import numpy as np
import pandas as pd


@dataclass(frozen=True)
class OutputComparison:
    """One output, compared at one batch size.

    Attributes:
        name: the source's name of the output.
        batch_size: rows in one call; None when only finished outputs were compared.
        shape: of the compared array.
        findings: what is wrong; empty when the output passed.
        max_abs: the largest absolute difference; NaN when the values could not be compared.
        atol_needed: the smallest absolute tolerance that would have passed, at the given rtol.
        rtol_needed: the smallest relative tolerance that would have passed, at the given atol.
        rmse_ratio: error against the golden float64 run, as a multiple of the source's own error;
            None without a golden run.
        label_flips: rows whose largest entry is at another place; None where there is no row of
            scores.
    """

    name: str
    batch_size: int | None
    shape: tuple[int, ...]
    findings: tuple[str, ...]
    max_abs: float = float("nan")
    atol_needed: float = float("nan")
    rtol_needed: float = float("nan")
    rmse_ratio: float | None = None
    label_flips: int | None = None

    @property
    def passed(self) -> bool:
        """True when there is no finding."""
        return not self.findings


@dataclass(frozen=True, repr=False)
class ParityReport:
    """All comparisons of one candidate.

    Attributes:
        comparisons: one for each output and batch size.
        notes: what a reader should know of the verdict; they do not decide it.

    Raises:
        ValueError: nothing was compared, so there is nothing to pass.
    """

    comparisons: tuple[OutputComparison, ...]
    notes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        """Refuse to be a verdict about nothing."""
        if not any(np.prod(each.shape) > 0 for each in self.comparisons):
            raise ValueError(
                "nothing was compared: there are no outputs, or they are empty. "
                "Give at least one row of inputs."
            )

    @property
    def passed(self) -> bool:
        """True when no comparison has a finding."""
        return all(each.passed for each in self.comparisons)

    @property
    def findings(self) -> tuple[str, ...]:
        """Every finding with the output and the batch size that it belongs to."""
        return tuple(
            f"{_where(each)}: {finding}" for each in self.comparisons for finding in each.findings
        )

    @property
    def max_abs(self) -> float:
        """The largest absolute difference of all outputs; NaN when one could not be compared."""
        return float(np.max([each.max_abs for each in self.comparisons]))

    @property
    def rmse_ratio(self) -> float | None:
        """The largest error ratio of all outputs; None without a golden run."""
        ratios = [each.rmse_ratio for each in self.comparisons if each.rmse_ratio is not None]
        return max(ratios) if ratios else None

    @property
    def label_flips(self) -> int | None:
        """The largest number of changed labels of all comparisons; None without labels."""
        flips = [each.label_flips for each in self.comparisons if each.label_flips is not None]
        return max(flips) if flips else None

    def to_frame(self) -> pd.DataFrame:
        """Return one row for each output and batch size."""
        names = [field.name for field in fields(OutputComparison)]
        rows = [[getattr(each, name) for name in names] for each in self.comparisons]
        return pd.DataFrame(rows, columns=names)

    def __repr__(self) -> str:
        verdict = "PASSED" if self.passed else "FAILED"
        ratio = "" if self.rmse_ratio is None else f", error ratio {self.rmse_ratio:.3g}"
        head = f"Parity {verdict}: max abs difference {self.max_abs:.2g}{ratio}"
        return "\n".join([head, *(f"  {each}" for each in (*self.findings, *self.notes))])


def _where(comparison: OutputComparison) -> str:
    if comparison.batch_size is None:
        return comparison.name
    return f"{comparison.name}, batch size {comparison.batch_size}"
