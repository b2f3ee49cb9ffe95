"""An artifact entered twice differs by less than 5% in p50, in 19 of 20 runs."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from helpers.costs.latency import measure_latency
from latency_parts.bench import Bench


def bench_same(bench: Bench, runs: int = 20) -> None:
    """Enter one artifact twice and compare it with itself, ONNX and TensorFlow in turn."""
    paths = {"ONNX": "digits.onnx", "SavedModel": "digits", "predict_on_batch": "digits.keras"}
    for name, path in paths.items():
        _bench_same(bench, name, bench.folder / path, runs)


def _bench_same(bench: Bench, name: str, path: Path, runs: int) -> None:
    differences = []
    for run in range(runs):
        report = measure_latency(
            {"first": path, "second": path},
            bench.images,
            batch_sizes=(1, 32),
            budget_s=6 * bench.scale,
            seed=run,
        )
        ratios = [
            report.result("first", size).p50_us / report.result("second", size).p50_us
            for size in (1, 32)
        ]
        differences.append(max(abs(ratio - 1) for ratio in ratios))
    close = sum(difference < 0.05 for difference in differences)
    bench.verdicts.check(
        close >= 0.95 * runs,
        f"same: {name}: {close} of {runs} runs differ by less than 5% "
        f"(median {np.median(differences):.1%}, largest {max(differences):.1%})",
    )
