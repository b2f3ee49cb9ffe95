"""The relations between the runtimes are as measured before, within a factor of 1.5."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from helpers.costs.candidate import Candidate
from helpers.costs.latency import measure_latency
from latency_parts.bench import Bench, write_routes

if TYPE_CHECKING:
    import keras

# p50 in microseconds by batch size, on two cores with as many threads as cores for TensorFlow.
DIGITS_US: Mapping[str, Mapping[int, float]] = {
    "predict": {1: 44000, 32: 47000, 256: 43000},
    "call": {1: 3700, 32: 4400, 256: 5400},
    "predict_on_batch": {1: 665, 32: 872, 256: 1713},
    "SavedModel": {1: 459, 32: 759, 256: 1341},
    "ONNX, 1 thread": {1: 12, 32: 64, 256: 440},
    "ONNX, 2 threads": {1: 13.5, 32: 57, 256: 254},
}
MOBILENET_US: Mapping[str, Mapping[int, float]] = {
    "predict": {1: 61000, 8: 138000},
    "predict_on_batch": {1: 16000, 8: 71000},
    "SavedModel": {1: 14400, 8: 66000},
    "ONNX, 2 threads": {1: 4050, 8: 33000},
}


def build_small_cnn() -> keras.Model:
    """Build the digits CNN of the earlier measurement: half the filters of ours.

    Its files had 108 kB with and 53 kB without the optimizer state, which leaves room for about
    6,000 parameters. Ours has 21,386, so that its larger batches weigh differently.
    """
    import keras
    from keras import layers

    return keras.Sequential(
        [
            keras.Input((8, 8, 1)),
            layers.Conv2D(16, 3, padding="same", activation="relu"),
            layers.MaxPooling2D(),
            layers.Conv2D(32, 3, padding="same", activation="relu"),
            layers.MaxPooling2D(),
            layers.Flatten(),
            layers.Dense(10, activation="softmax"),
        ]
    )


def bench_ratios(bench: Bench) -> None:
    """Measure all runtimes with two threads and compare their relations with earlier ones."""
    folder = bench.folder
    small = build_small_cnn()
    small(bench.images[:1])
    write_routes(small, folder, "small")
    options = {
        "predict": Candidate(folder / "small.keras", method="predict", threads=2),
        "call": Candidate(folder / "small.keras", method="call", threads=2),
        "predict_on_batch": Candidate(folder / "small.keras", threads=2),
        "SavedModel": Candidate(folder / "small", threads=2),
        "ONNX, 1 thread": Candidate(folder / "small.onnx", threads=1),
        "ONNX, 2 threads": Candidate(folder / "small.onnx", threads=2, allow_spinning=True),
    }
    _compare_ratios(bench, "digits CNN", options, bench.images, DIGITS_US, 60.0)

    from helpers.lessons.models import build_mobilenet_v2

    write_routes(build_mobilenet_v2(), folder, "mobilenet")
    options = {
        "predict": Candidate(folder / "mobilenet.keras", method="predict", threads=2),
        "predict_on_batch": Candidate(folder / "mobilenet.keras", threads=2),
        "SavedModel": Candidate(folder / "mobilenet", threads=2),
        "ONNX, 2 threads": Candidate(folder / "mobilenet.onnx", threads=2, allow_spinning=True),
    }
    random = np.random.default_rng(0)
    images = random.uniform(-1, 1, (8, 224, 224, 3)).astype(np.float32)
    _compare_ratios(bench, "MobileNetV2", options, images, MOBILENET_US, 60.0)


def _compare_ratios(
    bench: Bench,
    model: str,
    candidates: Mapping[str, Candidate],
    inputs: np.ndarray,
    expected_us: Mapping[str, Mapping[int, float]],
    budget_s: float,
) -> None:
    """Print every p50 and judge its ratio to the SavedModel of the same batch size."""
    sizes: Sequence[int] = tuple(expected_us["SavedModel"])
    report = measure_latency(
        candidates, inputs, batch_sizes=sizes, budget_s=budget_s * bench.scale, threads=2
    )
    print(report)
    for size in sizes:
        base_us = report.result("SavedModel", size).p50_us
        for name in candidates:
            if name == "SavedModel":
                continue
            measured = report.result(name, size).p50_us / base_us
            expected = expected_us[name][size] / expected_us["SavedModel"][size]
            factor = max(measured / expected, expected / measured)
            bench.verdicts.check(
                factor < 1.5,
                f"ratios: {model}, batch size {size}: {name} / SavedModel = {measured:.3g}, "
                f"expected {expected:.3g} (factor {factor:.2f})",
            )
