"""p50 agrees within 5% with pyperf, which times the same calls in turn with us."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np

from helpers.costs.arrays import name_inputs, save_arrays
from helpers.costs.candidate import Candidate
from helpers.costs.latency import measure_latency
from helpers.costs.messages import to_json
from helpers.costs.process import THREAD_VARIABLES
from latency_parts.bench import Bench

PYPERF_CALL = Path(__file__).parents[1] / "pyperf_call.py"


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
    save_arrays(bench.folder / "inputs.npz", name_inputs(bench.images))
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
                "candidate": to_json(candidate.request(threads=1)),
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
