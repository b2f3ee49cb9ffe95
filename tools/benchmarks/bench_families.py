"""Hear faithful artifacts of many model families, by every route and over several seeds.

    python tools/benchmarks/bench_families.py [--seeds 5] [--only FAMILY ...]

Prints a line for each family: the largest error ratio of each route, with "s" where the spread of
the source's own answers decided, ALARM where a faithful artifact failed, and "-" where the family
does not convert; then how many planted faults were caught. Ends with "N passed, N failed", and
with 1 when something failed. About an hour on two quiet cores for five seeds.
"""

from __future__ import annotations

import argparse
import logging
import sys
import tempfile
import time
import warnings
from collections import defaultdict
from pathlib import Path
from typing import Any

import absl.logging
import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # for routes, as pytest does

from parity_families import FAMILIES, build
from parity_faults import FAULTS, Case

from helpers.formats import Runtime, load_onnx, open_artifact
from helpers.parity import check_parity, float64_reference
from helpers.parity.check import NOTE_ON_SPREAD
from routes import write_artifact

OPTIMIZATIONS = ("enable_all", "disable_all")
CANDIDATES = {
    "keras": ("keras", None),
    "SavedModel": ("export", None),
    **{f"onnx {each[:-4]}": ("onnx", each) for each in OPTIMIZATIONS},
    **{f"tf2onnx {each[:-4]}": ("tf2onnx", each) for each in OPTIMIZATIONS},
}
HALVES = {"float16", "bfloat16"}
BFLOAT16 = "weights in bfloat16"
PLANTED = (
    "first kernel: one weight zeroed",
    "middle kernel: one weight zeroed",
    "last kernel: one weight zeroed",
    BFLOAT16,
    "biases lost",
    "rows in another order",
)
VISIBLE = 10.0
"""A zeroed weight counts when it moves the exact answers by so many times the rounding error that
the source has itself. What moves them less is within what two faithful programs may differ by."""


class Tally:
    """What was found of one family, over all seeds."""

    def __init__(self) -> None:
        self.ratios: dict[str, list[float]] = defaultdict(list)
        self.alarms: dict[str, list[str]] = defaultdict(list)
        self.by_spread: set[str] = set()
        self.caught, self.missed = 0, list[str]()

    def hear(self, name: str, candidate: Runtime, case: Case) -> None:
        """Compare a faithful artifact."""
        report = check_parity(candidate, case.source, case.inputs, case.golden)
        self.ratios[name].append(report.rmse_ratio or 0.0)
        if NOTE_ON_SPREAD in report.notes:
            self.by_spread.add(name)
        if not report.passed:
            self.alarms[name].append(report.findings[0])

    def plant(self, fault: str, case: Case) -> None:
        """Compare a faulty copy, where the model can have the fault."""
        halves = {layer.compute_dtype for layer in case.model._flatten_layers()} & HALVES
        if fault == BFLOAT16 and halves:  # a model in half precision rounds its weights as far
            return
        candidate = FAULTS[fault](case)
        if isinstance(candidate, str):
            return
        report = check_parity(candidate, case.source, case.inputs, case.golden)
        if report.passed:
            self.missed.append(f"{fault}: {report}")
        else:
            self.caught += 1

    def __str__(self) -> str:
        cells = []
        for name in CANDIDATES:
            mark = "s" if name in self.by_spread else ""
            mark += f" ALARM x{len(self.alarms[name])}" if self.alarms[name] else ""
            cells.append(f"{max(self.ratios[name]):.2f}{mark}" if self.ratios[name] else "-")
        planted = f"{self.caught} of {self.caught + len(self.missed)}"
        return "".join(f"{cell:>15}" for cell in cells) + f"{planted:>10}"


def make_case(family: str, seed: int) -> Case:
    """Build a model, and say which faults in it could be seen."""
    model, inputs = build(family, seed)
    case = Case(model, inputs, model.get_weights(), float64_reference(model, inputs))
    pairs = zip(_arrays(case.source(inputs)), _arrays(case.golden), strict=True)
    errors = [_rms(given - exact) / _rms(exact) for given, exact in pairs]
    case.smallest_effect = max(case.smallest_effect, VISIBLE * max(errors))
    return case


def _arrays(outputs: Any) -> list[np.ndarray]:
    arrays = outputs.values() if isinstance(outputs, dict) else [outputs]
    return [np.asarray(array, np.float64) for array in arrays]


def _rms(values: np.ndarray) -> float:
    return float(np.sqrt(np.mean(np.square(values))))


def run(family: str, seed: int, tally: Tally) -> None:
    """Hear all routes of one family with one seed, and plant the faults."""
    case = make_case(family, seed)
    with tempfile.TemporaryDirectory() as folder:
        paths: dict[str, Path | None] = {}
        for name, (route, optimization) in CANDIDATES.items():
            if route not in paths:
                try:
                    paths[route] = write_artifact(case.model, route, Path(folder, route))
                except Exception:  # a converter's errors have no type of their own
                    paths[route] = None
            path = paths[route]
            if path is None:
                continue
            try:
                candidate = (
                    load_onnx(path, optimization=optimization)
                    if optimization
                    else open_artifact(path)
                )
            except ValueError:  # refused: no artifact, so no verdict
                continue
            with candidate:
                if len(candidate.inputs) == len(case.source.inputs):
                    tally.hear(name, candidate, case)
    for fault in PLANTED:
        tally.plant(fault, case)


def main() -> int:
    """Run all families and return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--only", nargs="+", choices=FAMILIES, default=list(FAMILIES))
    options = parser.parse_args()
    logging.getLogger("tensorflow").setLevel(logging.ERROR)
    logging.getLogger("tf2onnx").setLevel(logging.CRITICAL)
    logging.getLogger().setLevel(logging.ERROR)
    absl.logging.set_verbosity(absl.logging.ERROR)
    warnings.simplefilter("ignore")
    start = time.monotonic()
    passed = failed = 0
    print(f"{'family':22}" + "".join(f"{name:>15}" for name in CANDIDATES) + f"{'faults':>10}")
    for family in options.only:
        tally = Tally()
        for seed in range(options.seeds):
            run(family, seed, tally)
        print(f"{family:22}{tally}", flush=True)
        alarms = [text for found in tally.alarms.values() for text in found]
        for text in (*alarms, *tally.missed):
            print(f"    {text}")
        passed += sum(map(len, tally.ratios.values())) - len(alarms) + tally.caught
        failed += len(alarms) + len(tally.missed)
    print(f"{time.monotonic() - start:.0f} s")
    print(f"{passed} passed, {failed} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
