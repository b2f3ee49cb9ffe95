"""How long a call takes, measured so that the comparison holds.

1. Every candidate runs in a process of its own, with a stated number of threads.
2. Visits to the candidates are interleaved, in a new random order each round. Measured one after
   the other, identical candidates differed by up to 40% here; interleaved, by about 1%.
3. Every batch size is warmed up first: the first calls trace, compile and allocate.
4. The median and the quartiles are reported, and a percentile only with enough calls.
5. What is timed is the whole call: NumPy arrays in, NumPy arrays out.
"""

from __future__ import annotations

import math
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import asdict
from pathlib import Path
from typing import TypeVar

import numpy as np

from helpers.costs.arrays import name_inputs, save_arrays
from helpers.costs.candidate import Candidate, as_candidate, check_threads
from helpers.costs.latency_results import Failure, LatencyReport, LatencyResult
from helpers.costs.messages import Visited
from helpers.costs.opened import OpenedArtifact
from helpers.costs.process import WorkerError
from helpers.costs.statistics import summarize
from helpers.formats.identify import ArtifactError
from helpers.formats.tensors import Arrays
from helpers.progress import Progress
from helpers.tables import counted

ROUNDS = 10
"""Every candidate gets at least so many visits within the budget, if its calls are short."""

MAX_CALLS_PER_VISIT = 2000
"""A visit with so many calls ends early; the time goes into more rounds."""

WARM_UP_ROUNDS = 2
"""Rounds of `median_seconds` that do not count."""

Item = TypeVar("Item")


def measure_latency(
    candidates: Mapping[str, Candidate | str | Path],
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
    check_candidates(candidates)
    check_latency_options(batch_sizes, budget_s, threads)
    check_seconds("timeout_s", timeout_s)
    named = name_inputs(inputs)
    rounds = Rounds(named, batch_sizes, threads, seed)
    with ExitStack() as stack:
        line = stack.enter_context(Progress(progress))
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="helpers_latency_")))
        line.show(f"starting {counted(len(candidates), 'process')}")
        start = time.perf_counter()
        started: dict[str, OpenedArtifact] = {}
        for index, (name, candidate) in enumerate(candidates.items()):
            try:
                started[name] = stack.enter_context(
                    OpenedArtifact(as_candidate(candidate), folder / str(index), threads,
                                   alone=True, timeout_s=timeout_s)
                )  # fmt: skip
            except ArtifactError as error:
                rounds.drop(name, str(error))
        for name, artifact in started.items():
            try:
                artifact.wait()
            except WorkerError as error:
                rounds.drop(name, str(error))
            else:
                rounds.add(name, artifact, folder)
        rounds.startup_s = time.perf_counter() - start
        rounds.visit(budget_s, line)
    report = rounds.report(budget_s)
    if not report.results:
        failures = "; ".join(map(str, report.failures))
        raise WorkerError(f"no candidate could be measured: {failures}")
    return report


class Rounds:
    """Rounds of visits to artifacts that are open, each in its own process."""

    def __init__(
        self,
        inputs: Mapping[str, np.ndarray],
        batch_sizes: Sequence[int],
        threads: int,
        seed: int,
    ) -> None:
        self._inputs, self.threads, self._seed = inputs, threads, seed
        self._sizes = tuple(dict.fromkeys(batch_sizes))
        self._artifacts: dict[str, OpenedArtifact] = {}
        self._visits: dict[tuple[str, int], list[Visited]] = {}
        self._failures: list[Failure] = []
        self._floor_ns = 0.0
        self._measured_s = 0.0
        self.startup_s = 0.0

    def drop(self, name: str, message: str) -> None:
        """Forget a candidate that failed: half a measurement would look like a whole one."""
        self._failures.append(Failure(name, None, message))
        self._visits = {cell: visits for cell, visits in self._visits.items() if cell[0] != name}

    def add(self, name: str, artifact: OpenedArtifact, folder: Path) -> None:
        """Warm an open artifact up, with every batch size; the folder is for the rows."""
        arrays = folder / "rows.npz"
        if not arrays.exists():
            save_arrays(arrays, self._inputs)
        threads = artifact.request.threads or self.threads
        try:
            warm = artifact.warm_up(str(arrays), self._sizes, threads)
        except WorkerError as error:
            self.drop(name, str(error))
            return
        self._artifacts[name] = artifact
        self._floor_ns = max(self._floor_ns, warm.floor_ns)
        for size in self._sizes:
            if str(size) in warm.failures:
                self._failures.append(Failure(name, size, warm.failures[str(size)]))
            else:
                self._visits[name, size] = []

    def visit(self, budget_s: float, line: Progress) -> None:
        """Go round after round until the budget is spent; the first round is always complete.

        Only the last round can be cut short, between two visits. A slow candidate makes the rounds
        longer and fewer, never its own share of the visits smaller.
        """
        # Those of an earlier group have their visits.
        cells = [cell for cell, visits in self._visits.items() if not visits]
        start = time.perf_counter()
        for number, order in enumerate(random_orders(cells, self._seed)):
            for name, size in order:
                elapsed = time.perf_counter() - start
                if number and elapsed >= budget_s:
                    self._measured_s += elapsed
                    return
                if (name, size) not in self._visits:
                    continue
                share = min(elapsed / budget_s, 1.0)
                line.show(f"round {number + 1}: {name}, batch size {size}", share)
                try:
                    visit = self._artifacts[name].visit(
                        size, budget_s / (ROUNDS * len(cells)), MAX_CALLS_PER_VISIT
                    )
                except WorkerError as error:
                    self.drop(name, str(error))
                else:
                    self._visits[name, size].append(visit)
            if not any(cell in self._visits for cell in cells):
                self._measured_s += time.perf_counter() - start
                return

    def report(self, budget_s: float, *notes: str) -> LatencyReport:
        """Put together what was measured so far."""
        rows = len(next(iter(self._inputs.values())))
        if rows < max(self._sizes):
            repeated = f"The inputs have {counted(rows, 'row')}, repeated to fill larger batches."
            notes = (repeated, *notes)
        return LatencyReport(
            tuple(self._result(*cell, visits) for cell, visits in self._visits.items() if visits),
            tuple(self._failures),
            self._floor_ns / 1e3,
            budget_s,
            self._measured_s,
            self.startup_s,
            notes,
        )

    def _result(self, name: str, size: int, visits: Sequence[Visited]) -> LatencyResult:
        calls = [np.asarray(visit.nanoseconds) for visit in visits]
        return LatencyResult(
            **asdict(summarize(np.concatenate(calls))),
            candidate=name,
            batch_size=size,
            threads=self._artifacts[name].request.threads or self.threads,
            cpu_per_wall=sum(visit.cpu_ns for visit in visits)
            / sum(visit.wall_ns for visit in visits),
            round_p50_us=tuple(float(np.median(each)) / 1e3 for each in calls),
        )


def random_orders(items: Sequence[Item], seed: int) -> Iterator[list[Item]]:
    """Yield one order after the other, without end; each holds every item once.

    So a slow moment of the machine hits all of them.
    """
    random = np.random.default_rng(seed)
    while True:
        yield [items[index] for index in random.permutation(len(items))]


def check_candidates(candidates: Mapping[str, Candidate | str | Path]) -> None:
    """Raise ValueError unless there are candidates by name."""
    if not isinstance(candidates, Mapping) or not candidates:
        raise ValueError(
            f"candidates: expected at least one, as {{name: path}}, got {candidates!r}"
        )


def check_latency_options(batch_sizes: Sequence[int], budget_s: float, threads: int) -> None:
    """Raise ValueError for a batch size, a budget or a number of threads that is none."""
    if not batch_sizes or any(
        isinstance(size, bool) or not isinstance(size, int) or size < 1 for size in batch_sizes
    ):
        raise ValueError(
            f"batch_sizes: expected whole numbers from 1 on, got {batch_sizes!r}, such as (1, 32)"
        )
    check_seconds("budget_s", budget_s)
    check_threads(threads)


def check_seconds(name: str, seconds: float) -> None:
    """Raise ValueError unless it is a positive number of seconds."""
    if not 0 < seconds < math.inf:
        raise ValueError(f"{name}: expected a positive number of seconds, got {seconds!r}")


def median_seconds(
    calls: Mapping[str, Callable[[], object]], rounds: int = 100
) -> dict[str, float]:
    """Time calls of this very process, where a fresh process each would be too much.

    Each is called once in every round, so that a slow moment of the machine hits all of them. Two
    rounds come first that do not count. What else this process does, such as threads of another
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
