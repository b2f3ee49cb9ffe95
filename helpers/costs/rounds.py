"""The rounds of a measurement: every candidate in its own process, visited in random order."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from helpers.costs.candidate import Candidate
from helpers.costs.inputs import save_inputs
from helpers.costs.process import Worker, WorkerError
from helpers.costs.results import Failure
from helpers.costs.turns import random_orders
from helpers.formats.identify import ArtifactError
from helpers.formats.tensors import Arrays
from helpers.progress import Progress
from helpers.tables import counted

WORKER_MODULE = "helpers.costs.timing"
ROUNDS = 10
"""Every candidate gets at least so many visits within the budget, if its calls are short."""

MAX_CALLS_PER_VISIT = 2000
"""A visit with so many calls ends early; the time goes into more rounds."""

Cell = tuple[str, int]
"""A candidate's name and a batch size."""


@dataclass(frozen=True)
class Visit:
    """One visit to one candidate with one batch size."""

    nanoseconds: np.ndarray
    cpu_ns: int
    wall_ns: int


@dataclass
class Measured:
    """All visits, and what is left to say about them."""

    startup_s: float = 0.0
    measured_s: float = 0.0
    floor_ns: float = 0.0
    visits: dict[Cell, list[Visit]] = field(default_factory=dict)
    failures: list[Failure] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def drop(self, name: str, message: str) -> None:
        """Forget a candidate that failed: half a measurement would look like a whole one."""
        self.failures.append(Failure(name, None, message))
        self.visits = {cell: visits for cell, visits in self.visits.items() if cell[0] != name}


def measure_rounds(
    candidates: Mapping[str, Candidate],
    inputs: Arrays,
    batch_sizes: Sequence[int],
    *,
    budget_s: float,
    threads: int,
    seed: int,
    timeout_s: float,
    progress: Progress,
) -> Measured:
    """Start a worker for each candidate and visit them until the budget is spent.

    Raises:
        InputError: the inputs are no arrays, or have no rows.
        ValueError: an option that an artifact does not have.
        WorkerError: nothing at all could be measured.
    """
    measured = Measured()
    with ExitStack() as stack:
        stack.enter_context(progress)
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="helpers_latency_")))
        rows = save_inputs(folder / "inputs.npz", inputs)
        if rows < max(batch_sizes):
            measured.notes.append(
                f"The inputs have {counted(rows, 'row')}, repeated to fill larger batches."
            )
        start = time.perf_counter()
        progress.show(f"starting {counted(len(candidates), 'process')}")
        workers = _start(candidates, batch_sizes, threads, folder, stack, measured)
        for name, worker in workers.items():
            _wait_until_ready(name, worker, batch_sizes, timeout_s, measured)
        measured.startup_s = time.perf_counter() - start
        _visit_all(workers, budget_s, seed, timeout_s, measured, progress)
    if not measured.visits:
        failures = "; ".join(map(str, measured.failures))
        raise WorkerError(f"no candidate could be measured: {failures}")
    return measured


def _start(
    candidates: Mapping[str, Candidate],
    batch_sizes: Sequence[int],
    threads: int,
    folder: Path,
    stack: ExitStack,
    measured: Measured,
) -> dict[str, Worker]:
    """Start all processes at once, each to load its artifact and to warm up every batch size."""
    workers: dict[str, Worker] = {}
    for index, (name, candidate) in enumerate(candidates.items()):
        try:
            request = candidate.request(threads)
        except ArtifactError as error:
            measured.drop(name, str(error))
            continue
        worker = Worker(WORKER_MODULE, folder / str(index), request["threads"])
        workers[name] = stack.enter_context(worker)
        worker.send(
            {
                "candidate": request,
                "inputs": str(folder / "inputs.npz"),
                "batch_sizes": list(batch_sizes),
            }
        )
    return workers


def _wait_until_ready(
    name: str,
    worker: Worker,
    batch_sizes: Sequence[int],
    timeout_s: float,
    measured: Measured,
) -> None:
    try:
        ready = worker.receive(timeout_s)
    except WorkerError as error:
        measured.drop(name, str(error))
        return
    measured.floor_ns = max(measured.floor_ns, ready["floor_ns"])
    failures: dict[str, str] = ready["failures"]
    for size in batch_sizes:
        if str(size) in failures:
            measured.failures.append(Failure(name, size, failures[str(size)]))
        else:
            measured.visits[name, size] = []


def _visit_all(
    workers: Mapping[str, Worker],
    budget_s: float,
    seed: int,
    timeout_s: float,
    measured: Measured,
    progress: Progress,
) -> None:
    """Go round after round until the budget is spent; the first round is always complete.

    Only the last round can be cut short, between two visits. A slow candidate makes the rounds
    longer and fewer, never its own share of the visits smaller.
    """
    cells = list(measured.visits)
    if not cells:
        return
    seconds = budget_s / (ROUNDS * len(cells))
    start = time.perf_counter()
    for number, order in enumerate(random_orders(cells, seed)):
        for name, size in order:
            elapsed = time.perf_counter() - start
            if number and elapsed >= budget_s:
                measured.measured_s = elapsed
                return
            if (name, size) not in measured.visits:
                continue
            progress.show(
                f"round {number + 1}: {name}, batch size {size}", min(elapsed / budget_s, 1.0)
            )
            request = {"batch_size": size, "seconds": seconds, "max_calls": MAX_CALLS_PER_VISIT}
            try:
                reply = workers[name].ask(request, timeout_s + seconds)
            except WorkerError as error:
                measured.drop(name, str(error))
                continue
            visit = Visit(np.asarray(reply["nanoseconds"]), reply["cpu_ns"], reply["wall_ns"])
            measured.visits[name, size].append(visit)
        measured.measured_s = time.perf_counter() - start
        if not measured.visits:
            return
