"""What was measured, and what was not: one record for each candidate and batch size."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal, TypeVar

from helpers.costs.statistics import NOISY_IQR_RATIO, Summary
from helpers.tables import counted

Scenario = Literal["SingleStream", "MultiStream", "Offline"]

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
            found.append(
                f"noisy: the quartiles are {self.iqr_ratio:.0%} of the median apart "
                f"(more than {NOISY_IQR_RATIO:.0%})"
            )
        if self.cpu_per_wall > self.threads + EXTRA_CPU:
            found.append(
                f"used {self.cpu_per_wall:.1f} processors although "
                f"{counted(self.threads, 'thread')} should do"
            )
        if call_floor_us > FLOOR_SHARE * self.p50_us:
            found.append(f"so short that the call floor is {call_floor_us / self.p50_us:.0%} of it")
        return tuple(f"{self.candidate}, batch size {self.batch_size}: {text}" for text in found)


@dataclass(frozen=True)
class ThroughputResult:
    """The throughput of one candidate at one batch size: LoadGen's scenario Offline.

    Attributes:
        candidate: its name.
        batch_size: rows in one call.
        rows_per_s: all rows of all timed calls by the time that these took.
        calls: how many calls were timed.
        threads: that the candidate was allowed.
        cpu_per_wall: processor seconds for each second of calls.
    """

    candidate: str
    batch_size: int
    rows_per_s: float
    calls: int
    threads: int
    cpu_per_wall: float


Result = TypeVar("Result", LatencyResult, ThroughputResult)


def find_result(
    results: tuple[Result, ...], failures: tuple[Failure, ...], candidate: str, batch_size: int
) -> Result:
    """Look a result up; see `LatencyReport.result`."""
    for result in results:
        if (result.candidate, result.batch_size) == (candidate, batch_size):
            return result
    for failure in failures:
        if failure.candidate == candidate and failure.batch_size in (None, batch_size):
            raise KeyError(f"not measured: {failure}")
    known = ", ".join(f"{result.candidate!r} at {result.batch_size}" for result in results)
    raise KeyError(f"no result for {candidate!r} at batch size {batch_size}; there are: {known}")
