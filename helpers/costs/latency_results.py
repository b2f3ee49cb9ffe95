"""What was measured, and what was not: a record for each candidate and batch size; the report."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

import pandas as pd

from helpers.costs.statistics import Summary
from helpers.tables import counted, table_as_html, table_as_text

Scenario = Literal["SingleStream", "MultiStream"]

COLUMNS = ["candidate", "scenario", "batch_size", "p50_us", "p90_us", "p99_us", "iqr_us", "calls",
           "threads", "cpu_per_wall"]  # fmt: skip
FLOOR_SHARE = 0.05
EXTRA_CPU = 0.25


@dataclass(frozen=True)
class Failure:
    """What could not be measured.

    Attributes:
        candidate: its name.
        batch_size: None when the candidate failed as a whole.
        message: what happened.
    """

    candidate: str
    batch_size: int | None
    message: str

    def __str__(self) -> str:
        where = "" if self.batch_size is None else f", batch size {self.batch_size}"
        return f"{self.candidate}{where}: {self.message}"


@dataclass(frozen=True)
class LatencyResult(Summary):
    """The latency of one candidate at one batch size.

    Attributes:
        calls: how many calls were timed.
        p50_us, iqr_us: median, and distance between the quartiles.
        p90_us, p95_us, p99_us: None with fewer than 64, 130 and 662 calls; see `calls_needed`.
        candidate: its name.
        batch_size: rows in one call.
        threads: that the candidate was allowed.
        cpu_per_wall: processor seconds for each second of calls; near 1 for one busy thread.
        round_p50_us: the median of each round, in order, which shows drift.
    """

    candidate: str
    batch_size: int
    threads: int
    cpu_per_wall: float
    round_p50_us: tuple[float, ...] = field(repr=False)

    @property
    def scenario(self) -> Scenario:
        """As MLPerf LoadGen calls it: one row at a time, or several rows at a time."""
        return "SingleStream" if self.batch_size == 1 else "MultiStream"

    @property
    def quietest_p50_us(self) -> float:
        """The median of the quietest round: other programs make a call slower, never faster."""
        return min(self.round_p50_us)

    def warnings(self, call_floor_us: float) -> tuple[str, ...]:
        """Say what makes the numbers doubtful."""
        found = []
        if self.noisy:
            found.append(self.noise)
        if self.cpu_per_wall > self.threads + EXTRA_CPU:
            found.append(
                f"used {self.cpu_per_wall:.1f} processors although "
                f"{counted(self.threads, 'thread')} should do"
            )
        if call_floor_us > FLOOR_SHARE * self.p50_us:
            found.append(f"so short that the call floor is {call_floor_us / self.p50_us:.0%} of it")
        return tuple(f"{self.candidate}, batch size {self.batch_size}: {text}" for text in found)


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
        for result in self.results:
            if (result.candidate, result.batch_size) == (candidate, batch_size):
                return result
        for failure in self.failures:
            if failure.candidate == candidate and failure.batch_size in (None, batch_size):
                raise KeyError(f"not measured: {failure}")
        known = ", ".join(f"{each.candidate!r} at {each.batch_size}" for each in self.results)
        raise KeyError(
            f"no result for {candidate!r} at batch size {batch_size}; there are: {known}"
        )

    def to_frame(self) -> pd.DataFrame:
        """Return one row for each result; a percentile with too few calls is NaN."""
        rows = [[getattr(each, column) for column in COLUMNS] for each in self.results]
        return pd.DataFrame(rows, columns=COLUMNS).astype({"p90_us": float, "p99_us": float})

    def __repr__(self) -> str:
        return table_as_text(self.to_frame(), self._remarks())

    def _repr_html_(self) -> str:
        return table_as_html(self.to_frame(), self._remarks())

    def _remarks(self) -> list[str]:
        return [
            *(f"FAILED {failure}" for failure in self.failures),
            *(f"Warning: {text}" for text in self.warnings),
            f"An empty call takes {self.call_floor_us:.2g} us, which every figure contains.",
            f"Measured for {self.measured_s:.1f} s (budget {self.budget_s:g} s), after "
            f"{self.startup_s:.1f} s to start and warm up the processes.",
            *self.notes,
        ]
