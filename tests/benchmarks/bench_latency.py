"""Is the latency measurement itself right? To be run on a quiet machine; it takes minutes.

    python tests/benchmarks/bench_latency.py [--only same pyperf harness ratios] [--scale 1.0]

- same: an artifact entered twice differs by less than 5% in p50, in 19 of 20 runs.
- pyperf: p50 agrees within 5% with pyperf, which times the same calls in turn with us.
- harness: the measurement costs less than 1 microsecond a call.
- ratios: the relations between the runtimes are as measured before, within a factor of 1.5.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from helpers.latency import Candidate, measure_latency
from helpers.quiet import quiet_import
from helpers.workers.channel import open_requested
from helpers.workers.inputs import save_inputs
from helpers.workers.process import THREAD_VARIABLES
from helpers.workers.timing import time_calls

BATCH_SIZES = (1, 32, 256)
PYPERF_CALL = Path(__file__).with_name("pyperf_call.py")

# p50 in microseconds by batch size, on two cores with as many threads as cores for TensorFlow. The
# digits CNN of that measurement had other layer sizes, so its larger batches weigh differently.
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


@dataclass
class Verdicts:
    """Counts what passed, and prints each verdict as it falls."""

    outcomes: list[bool] = field(default_factory=list)

    def check(self, passed: bool, text: str) -> None:
        """Note and print one verdict."""
        self.outcomes.append(passed)
        print(f"{'PASS' if passed else 'FAIL'} {text}", flush=True)

    def close(self) -> int:
        """Print the sum and return the exit code."""
        passed = sum(self.outcomes)
        failed = len(self.outcomes) - passed
        print(f"{passed} passed, {failed} failed")
        return 1 if failed or not passed else 0


@dataclass(frozen=True)
class Bench:
    """What every part needs: where the artifacts are, the inputs, and how much time to spend."""

    folder: Path
    images: np.ndarray
    scale: float
    verdicts: Verdicts


def write_digits(folder: Path) -> np.ndarray:
    """Write the digits CNN by three routes and return real images for it."""
    from helpers.digits import load_digits
    from helpers.models import build_digits_cnn

    images = load_digits().test_images
    model = build_digits_cnn()
    model(images[:1])  # the ONNX exporter refuses a model that was never called
    _write(model, folder, "digits")
    return images


def _write(model: object, folder: Path, name: str) -> None:
    model.save(folder / f"{name}.keras")
    model.export(folder / name, verbose=False)
    model.export(folder / f"{name}.onnx", format="onnx", verbose=False)


def bench_same(bench: Bench, runs: int = 20) -> None:
    """Enter one artifact twice and compare it with itself."""
    path = bench.folder / "digits.onnx"
    differences = []
    for run in range(runs):
        report = measure_latency(
            {"first": path, "second": path},
            bench.images,
            batch_sizes=(1, 32),
            budget_s=4 * bench.scale,
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
        f"same: {close} of {runs} runs differ by less than 5% "
        f"(median {np.median(differences):.1%}, largest {max(differences):.1%})",
    )


def bench_pyperf(bench: Bench, repeats: int = 5) -> None:
    """Time the same calls with pyperf and with us, in turn."""
    candidates = {
        "predict_on_batch": Candidate(bench.folder / "digits.keras"),
        "SavedModel": Candidate(bench.folder / "digits"),
        "ONNX": Candidate(bench.folder / "digits.onnx"),
    }
    cells = [(name, size) for name in candidates for size in (1, 32)]
    ours: dict[tuple[str, int], list[float]] = {cell: [] for cell in cells}
    theirs: dict[tuple[str, int], list[float]] = {cell: [] for cell in cells}
    save_inputs(bench.folder / "inputs.npz", bench.images)
    for repeat in range(repeats):
        for name, candidate in candidates.items():
            report = measure_latency(
                {name: candidate},
                bench.images,
                batch_sizes=(1, 32),
                budget_s=2 * bench.scale,
                seed=repeat,
            )
            for size in (1, 32):
                ours[name, size].append(report.result(name, size).p50_us)
                theirs[name, size].append(_pyperf_p50_us(bench, candidate, size))
    for name, size in cells:
        our_us, their_us = np.median(ours[name, size]), np.median(theirs[name, size])
        bench.verdicts.check(
            abs(our_us / their_us - 1) < 0.05,
            f"pyperf: {name}, batch size {size}: {our_us:.4g} us against pyperf's "
            f"{their_us:.4g} us ({our_us / their_us - 1:+.1%})",
        )


def _pyperf_p50_us(bench: Bench, candidate: Candidate, batch_size: int) -> float:
    import pyperf

    request = bench.folder / "request.json"
    request.write_text(
        json.dumps(
            {
                "candidate": candidate.request(threads=1),
                "inputs": str(bench.folder / "inputs.npz"),
                "batch_size": batch_size,
            }
        )
    )
    output = bench.folder / "pyperf.json"
    output.unlink(missing_ok=True)
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    environment |= dict.fromkeys(THREAD_VARIABLES, "1")
    values = max(int(1000 * bench.scale), 100)
    command = [sys.executable, str(PYPERF_CALL), str(request), "--output", str(output)]
    command += ["--copy-env", "--processes", "1", "--warmups", "100", "--loops", "1"]
    command += ["--values", str(values)]
    subprocess.run(command, check=True, capture_output=True, env=environment)
    return 1e6 * float(np.median(pyperf.Benchmark.load(str(output)).get_values()))


def bench_harness(bench: Bench, repeats: int = 200, calls: int = 500) -> None:
    """Compare calls that are timed one by one with a loop that is timed as a whole."""
    request = Candidate(bench.folder / "digits.onnx").request(threads=1)
    runtime, _, _ = open_requested(request)
    call = runtime.prepare(bench.images[:1])
    differences, floors = [], []
    for _ in range(repeats):
        single = time_calls(call, 60.0, calls)["nanoseconds"]
        start = time.perf_counter_ns()
        for _ in range(calls):
            call()
        together = (time.perf_counter_ns() - start) / calls
        differences.append(np.mean(single) - together)
        floors.append(np.median(time_calls(int, 60.0, calls)["nanoseconds"]))
    cost_us, floor_us = np.median(differences) / 1e3, np.median(floors) / 1e3
    bench.verdicts.check(
        abs(cost_us) < 1.0,
        f"harness: {cost_us:.2f} us a call at batch size 1 with ONNX Runtime "
        f"(an empty call takes {floor_us:.2f} us)",
    )


def bench_ratios(bench: Bench) -> None:
    """Measure all runtimes with two threads and compare their relations with earlier ones."""
    folder = bench.folder
    options = {
        "predict": Candidate(folder / "digits.keras", method="predict", threads=2),
        "call": Candidate(folder / "digits.keras", method="call", threads=2),
        "predict_on_batch": Candidate(folder / "digits.keras", threads=2),
        "SavedModel": Candidate(folder / "digits", threads=2),
        "ONNX, 1 thread": Candidate(folder / "digits.onnx", threads=1),
        "ONNX, 2 threads": Candidate(folder / "digits.onnx", threads=2, allow_spinning=True),
    }
    _compare_ratios(bench, "digits CNN", options, bench.images, DIGITS_US, 60.0)

    from helpers.models import build_mobilenet_v2

    _write(build_mobilenet_v2(), folder, "mobilenet")
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


PARTS: Mapping[str, Callable[[Bench], None]] = {
    "same": bench_same,
    "pyperf": bench_pyperf,
    "harness": bench_harness,
    "ratios": bench_ratios,
}


def main() -> int:
    """Run the parts that were asked for."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", nargs="+", choices=PARTS, default=list(PARTS))
    parser.add_argument("--scale", type=float, default=1.0, help="of the measuring times")
    options = parser.parse_args()
    with quiet_import():
        import keras  # noqa: F401
    verdicts = Verdicts()
    with tempfile.TemporaryDirectory(prefix="bench_latency_") as folder:
        images = write_digits(Path(folder))
        for name in options.only:
            start = time.perf_counter()
            PARTS[name](Bench(Path(folder), images, options.scale, verdicts))
            print(f"({name}: {time.perf_counter() - start:.0f} s)", flush=True)
    return verdicts.close()


if __name__ == "__main__":
    sys.exit(main())
