"""The measurement itself costs less than 1 microsecond a call."""

from __future__ import annotations

import time

import numpy as np

from helpers.costs.candidate import Candidate
from helpers.costs.worker import open_requested, time_calls
from latency_parts.bench import Bench


def bench_harness(bench: Bench, repeats: int = 200, calls: int = 500) -> None:
    """Compare calls that are timed one by one with a loop that is timed as a whole."""
    request = Candidate(bench.folder / "digits.onnx").request(threads=1)
    runtime, _, _ = open_requested(request)
    call = runtime.prepare(bench.images[:1])
    differences, floors = [], []
    for _ in range(repeats):
        single = time_calls(call, 60.0, calls).nanoseconds
        start = time.perf_counter_ns()
        for _ in range(calls):
            call()
        together = (time.perf_counter_ns() - start) / calls
        differences.append(np.mean(single) - together)
        floors.append(np.median(time_calls(int, 60.0, calls).nanoseconds))
    cost_us, floor_us = np.median(differences) / 1e3, np.median(floors) / 1e3
    bench.verdicts.check(
        abs(cost_us) < 1.0,
        f"harness: {cost_us:.2f} us a call at batch size 1 with ONNX Runtime "
        f"(an empty call takes {floor_us:.2f} us)",
    )
