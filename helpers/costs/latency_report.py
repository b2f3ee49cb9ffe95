"""The reports of a measurement: all its results, as a table and in words."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from html import escape

import pandas as pd

from helpers.costs.results import Failure, LatencyResult, ThroughputResult, find_result
from helpers.tables import readable


@dataclass(frozen=True, repr=False)
class LatencyReport:
    """All that `measure_latency` found.

    Attributes:
        results: one for each candidate and batch size that could be measured.
        failures: the others.
        call_floor_us: median time of an empty call, measured in the same way in the same
            processes. It is contained in every figure, not subtracted.
        budget_s: as given.
        measured_s: how long the rounds took, start and warm-up of the processes excluded.
        startup_s: how long start and warm-up took.
        notes: what a reader must know besides.
    """

    results: tuple[LatencyResult, ...]
    failures: tuple[Failure, ...]
    call_floor_us: float
    budget_s: float
    measured_s: float
    startup_s: float
    notes: tuple[str, ...] = ()

    @property
    def warnings(self) -> tuple[str, ...]:
        """What makes single results doubtful."""
        return tuple(
            text for result in self.results for text in result.warnings(self.call_floor_us)
        )

    def result(self, candidate: str, batch_size: int = 1) -> LatencyResult:
        """Return one result.

        Raises:
            KeyError: it was not measured; the message says why when it failed.
        """
        return find_result(self.results, self.failures, candidate, batch_size)

    def to_frame(self) -> pd.DataFrame:
        """Return one row for each result; a percentile with too few calls is NaN."""
        rows = [
            {
                "candidate": each.candidate,
                "scenario": each.scenario,
                "batch_size": each.batch_size,
                "p50_us": each.p50_us,
                "p90_us": each.p90_us,
                "p99_us": each.p99_us,
                "iqr_us": each.iqr_us,
                "calls": each.calls,
                "threads": each.threads,
                "cpu_per_wall": each.cpu_per_wall,
            }
            for each in self.results
        ]
        return pd.DataFrame(rows).astype({"p90_us": float, "p99_us": float})

    def __repr__(self) -> str:
        return _as_text(self.to_frame(), _remarks(self))

    def _repr_html_(self) -> str:
        return _as_html(self.to_frame(), _remarks(self))


@dataclass(frozen=True, repr=False)
class ThroughputReport:
    """All that `measure_throughput` found; see `LatencyReport` for the fields."""

    results: tuple[ThroughputResult, ...]
    failures: tuple[Failure, ...]
    budget_s: float
    measured_s: float
    startup_s: float
    notes: tuple[str, ...] = ()

    @property
    def best(self) -> tuple[ThroughputResult, ...]:
        """The result with the best batch size for each candidate, in the order given."""
        names = dict.fromkeys(result.candidate for result in self.results)
        return tuple(
            max(
                (result for result in self.results if result.candidate == name),
                key=lambda result: result.rows_per_s,
            )
            for name in names
        )

    def result(self, candidate: str, batch_size: int) -> ThroughputResult:
        """Return one result.

        Raises:
            KeyError: it was not measured; the message says why when it failed.
        """
        return find_result(self.results, self.failures, candidate, batch_size)

    def to_frame(self) -> pd.DataFrame:
        """Return one row for each candidate and batch size; ``best`` marks the best size."""
        rows = [
            {"scenario": "Offline", **asdict(each), "best": each in self.best}
            for each in self.results
        ]
        return pd.DataFrame(rows)

    def __repr__(self) -> str:
        return _as_text(self.to_frame(), _remarks(self))

    def _repr_html_(self) -> str:
        return _as_html(self.to_frame(), _remarks(self))


def _remarks(report: LatencyReport | ThroughputReport) -> list[str]:
    remarks = [f"FAILED {failure}" for failure in report.failures]
    if isinstance(report, LatencyReport):
        remarks += [f"Warning: {text}" for text in report.warnings]
        remarks.append(
            f"An empty call takes {report.call_floor_us:.2g} us, which every figure contains."
        )
    remarks.append(
        f"Measured for {report.measured_s:.1f} s (budget {report.budget_s:g} s), after "
        f"{report.startup_s:.1f} s to start and warm up the processes."
    )
    return remarks + list(report.notes)


def _as_text(frame: pd.DataFrame, remarks: list[str]) -> str:
    table = frame.to_string(index=False, float_format=readable, na_rep="-")
    return "\n".join([table, *remarks])


def _as_html(frame: pd.DataFrame, remarks: list[str]) -> str:
    table = frame.to_html(index=False, float_format=readable, na_rep="-")
    items = "".join(f"<li>{escape(remark)}</li>" for remark in remarks)
    return f"{table}<ul>{items}</ul>"
