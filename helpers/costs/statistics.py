"""The statistics of a latency report, on plain arrays of durations."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

CONFIDENCE = 0.99
NOISY_IQR_RATIO = 0.10


def calls_needed(percentile: float) -> int:
    """Return how many calls a percentile needs: 64 for 90, 130 for 95, 662 for 99.

    The rule is that of MLPerf LoadGen's early stopping: with so many calls, at most one of which
    is slower than a bound, the bound is above the true percentile with 99% confidence. Calls count
    as independent of each other.

    Args:
        percentile: above 0 and below 100.

    Raises:
        ValueError: a percentile outside that range.
    """
    if not 0 < percentile < 100:
        raise ValueError(f"percentile: expected a number between 0 and 100, got {percentile}")
    slower = 1 - percentile / 100
    calls = 2
    while (1 - slower) ** (calls - 1) * (1 - slower + calls * slower) > 1 - CONFIDENCE:
        calls += 1
    return calls


@dataclass(frozen=True)
class Summary:
    """Durations in microseconds; a percentile is None when it has too few calls."""

    calls: int
    p50_us: float
    iqr_us: float
    p90_us: float | None
    p95_us: float | None
    p99_us: float | None

    @property
    def iqr_ratio(self) -> float:
        """The distance between the quartiles as a share of the median."""
        return self.iqr_us / self.p50_us if self.p50_us else math.inf

    @property
    def noisy(self) -> bool:
        """True when the quartiles are further apart than 10% of the median."""
        return self.iqr_ratio > NOISY_IQR_RATIO

    @property
    def noise(self) -> str:
        """Say how noisy the times are."""
        return (
            f"noisy: the quartiles are {self.iqr_ratio:.0%} of the median apart "
            f"(more than {NOISY_IQR_RATIO:.0%})"
        )


def summarize(nanoseconds: np.ndarray) -> Summary:
    """Reduce the durations of single calls, in nanoseconds, to a `Summary`.

    Percentiles between two calls are interpolated linearly, as NumPy does.

    Raises:
        ValueError: there are no calls.
    """
    if nanoseconds.size == 0:
        raise ValueError("nanoseconds: expected the duration of at least one call, got none")
    microseconds = nanoseconds / 1e3
    lower, median, upper = np.percentile(microseconds, [25, 50, 75])

    def tail(percentile: int) -> float | None:
        if microseconds.size < calls_needed(percentile):
            return None
        return float(np.percentile(microseconds, percentile))

    return Summary(
        int(microseconds.size), float(median), float(upper - lower), tail(90), tail(95), tail(99)
    )
