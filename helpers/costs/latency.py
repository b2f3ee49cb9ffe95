"""Measure latency (how long one call takes) and throughput (how many rows a second)."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path

import numpy as np

from helpers.costs.candidate import Candidate, as_candidate, check_threads
from helpers.costs.latency_report import LatencyReport, ThroughputReport
from helpers.costs.results import LatencyResult, ThroughputResult
from helpers.costs.rounds import Measured, Visit, measure_rounds
from helpers.costs.statistics import summarize
from helpers.formats.tensors import Arrays
from helpers.progress import Progress

Candidates = Mapping[str, Candidate | str | Path]
"""What to measure, by the name that the report uses."""


def measure_latency(
    candidates: Candidates,
    inputs: Arrays,
    *,
    batch_sizes: Sequence[int] = (1, 32, 256),
    budget_s: float = 20.0,
    threads: int = 1,
    seed: int = 0,
    timeout_s: float = 120.0,
    progress: bool = True,
) -> LatencyReport:
    """Time single calls of several candidates, each in a process of its own, visits interleaved.

    What is timed is the call that `Runtime.prepare` returns: NumPy arrays in, NumPy arrays out.
    Python's garbage collector rests meanwhile. On Linux, each process has as many processors as
    threads; elsewhere the system moves it about, which makes TensorFlow's times less steady.
    The scenario is LoadGen's SingleStream at batch size 1: the next call starts when the last has
    ended.

    Args:
        candidates: artifacts by name: a path, or a `Candidate` with options.
        inputs: as the models take them: one array, arrays by input name, or arrays in order. The
            first rows of each array make a batch; they are repeated where there are too few.
        batch_sizes: rows in one call.
        budget_s: seconds for all visits together. Start and warm-up come on top (seconds for each
            TensorFlow process, reported as ``startup_s``), and one round of visits at most.
        threads: for each candidate that has no number of its own: TensorFlow's intra-op and
            inter-op threads, ONNX Runtime's intra-op threads.
        seed: of the order of visits.
        timeout_s: the longest wait for a worker's answer.
        progress: show how far it is, where a person watches.

    A candidate that cannot be opened, crashes or hangs is one of the report's failures. The others
    are measured all the same.

    Raises:
        InputError: the inputs are no arrays, or have no rows.
        ValueError: an argument out of range, or an option that an artifact does not have.
        WorkerError: nothing at all could be measured.
    """
    measured = _measure(
        candidates, inputs, batch_sizes, budget_s, threads, seed, timeout_s, progress
    )
    return LatencyReport(
        tuple(
            LatencyResult(
                **asdict(summarize(_all_calls(visits))),
                candidate=name,
                batch_size=size,
                threads=_threads(candidates[name], threads),
                cpu_per_wall=_cpu_per_wall(visits),
                round_p50_us=tuple(float(np.median(visit.nanoseconds)) / 1e3 for visit in visits),
            )
            for (name, size), visits in measured.visits.items()
        ),
        tuple(measured.failures),
        measured.floor_ns / 1e3,
        budget_s,
        measured.measured_s,
        measured.startup_s,
        tuple(measured.notes),
    )


def measure_throughput(
    candidates: Candidates,
    inputs: Arrays,
    *,
    batch_sizes: Sequence[int] = (1, 8, 32, 128, 256),
    budget_s: float = 20.0,
    threads: int = 1,
    seed: int = 0,
    timeout_s: float = 120.0,
    progress: bool = True,
) -> ThroughputReport:
    """Measure how many rows a second a candidate gets through: LoadGen's scenario Offline.

    The rows of all timed calls are divided by the time that these took. The report marks the best
    batch size of each candidate; give one size to fix it. For the rest see `measure_latency`.
    """
    measured = _measure(
        candidates, inputs, batch_sizes, budget_s, threads, seed, timeout_s, progress
    )
    return ThroughputReport(
        tuple(
            ThroughputResult(
                name,
                size,
                1e9 * size * _all_calls(visits).size / int(_all_calls(visits).sum()),
                _all_calls(visits).size,
                _threads(candidates[name], threads),
                _cpu_per_wall(visits),
            )
            for (name, size), visits in measured.visits.items()
        ),
        tuple(measured.failures),
        budget_s,
        measured.measured_s,
        measured.startup_s,
        tuple(measured.notes),
    )


def _measure(
    candidates: Candidates,
    inputs: Arrays,
    batch_sizes: Sequence[int],
    budget_s: float,
    threads: int,
    seed: int,
    timeout_s: float,
    progress: bool,
) -> Measured:
    if not isinstance(candidates, Mapping) or not candidates:
        raise ValueError(
            f"candidates: expected at least one, as {{name: path}}, got {candidates!r}"
        )
    if not batch_sizes or any(
        isinstance(size, bool) or not isinstance(size, int) or size < 1 for size in batch_sizes
    ):
        raise ValueError(
            f"batch_sizes: expected whole numbers from 1 on, got {batch_sizes!r}, such as (1, 32)"
        )
    for name, seconds in (("budget_s", budget_s), ("timeout_s", timeout_s)):
        if not 0 < seconds < math.inf:
            raise ValueError(f"{name}: expected a positive number of seconds, got {seconds!r}")
    check_threads(threads)
    return measure_rounds(
        {name: as_candidate(candidate) for name, candidate in candidates.items()},
        inputs,
        tuple(dict.fromkeys(batch_sizes)),
        budget_s=budget_s,
        threads=threads,
        seed=seed,
        timeout_s=timeout_s,
        progress=Progress(progress),
    )


def _threads(candidate: Candidate | str | Path, threads: int) -> int:
    return as_candidate(candidate).threads or threads


def _all_calls(visits: Sequence[Visit]) -> np.ndarray:
    return np.concatenate([visit.nanoseconds for visit in visits])


def _cpu_per_wall(visits: Sequence[Visit]) -> float:
    return sum(visit.cpu_ns for visit in visits) / sum(visit.wall_ns for visit in visits)
