"""The parts of `bench_latency`, one question each."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from latency_parts.against_pyperf import bench_pyperf
from latency_parts.bench import Bench, Verdicts, write_digits
from latency_parts.harness import bench_harness
from latency_parts.ratios import bench_ratios
from latency_parts.same import bench_same

__all__ = ["PARTS", "Bench", "Verdicts", "write_digits"]

PARTS: Mapping[str, Callable[[Bench], None]] = {
    "same": bench_same,
    "pyperf": bench_pyperf,
    "harness": bench_harness,
    "ratios": bench_ratios,
}
