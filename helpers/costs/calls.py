"""Time calls of this very process, where a fresh process each would be too much."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping

import numpy as np

WARM_UP_ROUNDS = 2


def median_seconds(
    calls: Mapping[str, Callable[[], object]], rounds: int = 100
) -> dict[str, float]:
    """Call each one once in every round, so that a slow moment of the machine hits all of them.

    Two rounds come first that do not count. What else this process does, such as threads of another
    runtime, is in the figures: to compare runtimes, use `measure_latency`.

    Args:
        calls: what to time, by name.
        rounds: how many calls of each count.

    Returns:
        The median of each call in seconds, by name.

    Raises:
        ValueError: no calls, or no rounds.
    """
    if not calls or rounds < 1:
        raise ValueError(f"expected calls and rounds, got {len(calls)} calls, {rounds} rounds")
    seconds: dict[str, list[float]] = {name: [] for name in calls}
    for number in range(WARM_UP_ROUNDS + rounds):
        for name, call in calls.items():
            start = time.perf_counter()
            call()
            if number >= WARM_UP_ROUNDS:
                seconds[name].append(time.perf_counter() - start)
    return {name: float(np.median(times)) for name, times in seconds.items()}
