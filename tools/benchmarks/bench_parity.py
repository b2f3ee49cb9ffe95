"""Plant every fault in every model family, and give every faithful artifact a fair hearing.

    python tools/benchmarks/bench_parity.py

Prints the matrix of faults and families with the rule that caught each, the faithful artifacts
with their error ratios, and a last line "N passed, N failed". Exits with 1 when something failed.
About five minutes on two cores.
"""

from __future__ import annotations

import logging
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

import absl.logging
import keras
import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # as pytest does

from parity_faults import FAULTS, Case

import families
from helpers.formats import open_artifact
from helpers.lessons import models
from helpers.lessons.digits import Digits, load_digits
from helpers.parity import ParityReport, check_parity, float64_reference
from helpers.parity.golden_rule import GOLDEN_FACTOR
from routes import SUFFIXES, write_artifact

ROWS = 32
# The first rule that a report breaks, in the order in which the rules are told to the reader.
RULES = {
    "fails": "the candidate fails",
    "shape": "shape is",
    "dtype": "dtype is",
    "finite": "are NaN or infinite",
    "tolerance": "values differ by more than",
    "GOLDEN": "times the source's own",
}


def build_cases(digits: Digits) -> dict[str, Case]:
    """Build, train or calibrate one model of each family."""
    probe = digits.test_images[:ROWS]
    cases = {}
    for name, build in families.DIGITS_BUILDERS.items():
        model = build()
        models.train(model, digits, epochs=4)
        stale = model.get_weights()
        model.fit(digits.train_images, digits.train_labels, epochs=1, verbose=0)
        cases[name] = _case(model, probe, stale)
    two_branch = families.build_two_branch()
    cases["two_branch"] = _case(
        two_branch, {"image": probe, "profile": probe.mean(axis=(2, 3))}, _disturb(two_branch)
    )
    mobilenet = models.build_mobilenet_v2(image_size=96)
    images = np.random.default_rng(1).uniform(-1, 1, (ROWS, 96, 96, 3)).astype(np.float32)
    cases["mobilenet"] = _case(mobilenet, images, _disturb(mobilenet))
    return cases


def _case(model: keras.Model, inputs: Any, stale: list[np.ndarray]) -> Case:
    return Case(model, inputs, stale, float64_reference(model, inputs))


def _disturb(model: keras.Model) -> list[np.ndarray]:
    """Give untrained biases values, and return weights as of one small training step before."""
    random = np.random.default_rng(0)
    for weight in model.weights:
        if weight.path.endswith(("bias", "beta")):
            weight.assign(random.normal(0, 0.1, weight.shape))
    return [w + 1e-4 * random.normal(size=w.shape) * np.abs(w).mean() for w in model.get_weights()]


def rule_of(report: ParityReport) -> str:
    """Name the first broken rule; empty when the report passed."""
    names = [name for name, words in RULES.items() if any(words in f for f in report.findings)]
    return names[0] if names else ""


def run_faults(cases: dict[str, Case]) -> tuple[Counter[str], list[float]]:
    """Print the matrix; count the cells and collect the error ratios of the caught faults."""
    counts: Counter[str] = Counter()
    ratios, missed, reasons = [], [], Counter()
    print(f"{'fault':38}" + "".join(f"{name:>12}" for name in cases))
    for fault, plant in FAULTS.items():
        cells = []
        for name, case in cases.items():
            candidate = plant(case)
            if isinstance(candidate, str):
                reasons[candidate] += 1
                cells.append("-")
                continue
            report = check_parity(candidate, case.source, case.inputs, case.golden)
            rule = rule_of(report) or "MISSED"
            if rule == "MISSED":
                missed.append(f"{rule}: {fault}, {name}: {report}")
            counts[rule] += 1
            cells.append(rule)
            if report.rmse_ratio is not None and rule in ("tolerance", "GOLDEN"):
                ratios.append(report.rmse_ratio)
        print(f"{fault:38}" + "".join(f"{cell:>12}" for cell in cells), flush=True)
    print("\n'-' where a model cannot have the fault:")
    for reason, count in reasons.most_common():
        print(f"  {count:3} x {reason}")
    print("\n".join(missed))
    draws = [draw for case in cases.values() for draw in case.draws]
    print(f"weights drawn until one mattered, in each search: {draws}")
    return counts, ratios


def run_faithful(cases: dict[str, Case]) -> tuple[int, list[float]]:
    """Print one line for each family; return the false alarms and all error ratios."""
    alarms, ratios = 0, []
    print(f"\n{'faithful artifact':18}" + "".join(f"{route:>12}" for route in SUFFIXES))
    with tempfile.TemporaryDirectory() as folder:
        for name, case in cases.items():
            cells = []
            for route in SUFFIXES:
                path = write_artifact(case.model, route, Path(folder) / f"{name}-{route}")
                with open_artifact(path) as candidate:
                    report = check_parity(candidate, case.source, case.inputs, case.golden)
                alarms += not report.passed
                ratios.append(report.rmse_ratio)
                cells.append(f"{report.rmse_ratio:.2f}" + ("" if report.passed else " ALARM"))
            print(f"{name:18}" + "".join(f"{cell:>12}" for cell in cells), flush=True)
    return alarms, ratios


def main() -> int:
    """Run both halves and return the exit code."""
    logging.getLogger("tensorflow").setLevel(logging.ERROR)
    absl.logging.set_verbosity(absl.logging.ERROR)
    start = time.monotonic()
    cases = build_cases(load_digits())
    caught, fault_ratios = run_faults(cases)
    alarms, faithful_ratios = run_faithful(cases)
    failed = caught.pop("MISSED", 0) + alarms
    print(f"\n{len(FAULTS)} kinds of fault, {caught.total()} cells caught: {dict(caught)}")
    low, middle, high = np.quantile(faithful_ratios, [0, 0.5, 1])
    print(
        f"error ratios: {len(faithful_ratios)} faithful artifacts {low:.2f} / {middle:.2f} / "
        f"{high:.2f} (min / median / max); faults from {min(fault_ratios):.3g}; "
        f"the rule is {GOLDEN_FACTOR:g}"
    )
    print(f"five smallest of the faults: {[round(r, 1) for r in sorted(fault_ratios)[:5]]}")
    hidden = sum(ratio <= GOLDEN_FACTOR for ratio in fault_ratios)
    print(f"{hidden} of the faults showed at a single output position only")
    print(f"{time.monotonic() - start:.0f} s")
    print(f"{caught.total() + len(faithful_ratios) - alarms} passed, {failed} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
