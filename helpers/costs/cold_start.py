"""Start fresh processes and measure each until its first answer."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Mapping, Sequence
from itertools import islice
from pathlib import Path

from helpers.costs.candidate import Candidate, as_candidate
from helpers.costs.cold_start_report import ColdStart, ColdStartReport, ColdStartRun
from helpers.costs.inputs import save_inputs
from helpers.costs.process import Worker, WorkerError
from helpers.costs.turns import random_orders
from helpers.formats.identify import ArtifactError
from helpers.formats.tensors import Arrays
from helpers.progress import Progress

WORKER_MODULE = "helpers.costs.first_call"
TIMEOUT_S = 300.0


def measure_cold_start(
    candidate: Candidate | str | Path, inputs: Arrays | None = None, repeats: int = 5
) -> ColdStart:
    """Measure one artifact; see `compare_cold_starts`.

    Raises:
        WorkerError: it cannot be opened or called.
        InputError, ValueError: see `compare_cold_starts`.
    """
    name = Path(as_candidate(candidate).path).name
    report = compare_cold_starts({name: candidate}, inputs, repeats=repeats)
    if report.failures:
        raise WorkerError(f"{name}: {report.failures[name]}")
    return report.results[0]


def compare_cold_starts(
    candidates: Mapping[str, Candidate | str | Path],
    inputs: Arrays | None = None,
    *,
    repeats: int = 5,
    seed: int = 0,
    warm_up: bool = True,
    progress: bool = True,
) -> ColdStartReport:
    """Measure the cold start of several artifacts, a fresh process each time, in random turns.

    The import is that of this environment: Keras, for one, also imports scikit-learn and pandas
    when they are installed (0.9 s of 3.9 s on one machine). Measure where you deploy.

    Args:
        candidates: artifacts by name: a path, or a `Candidate` with options.
        inputs: all rows make the first call; None makes up one row, see `sample_inputs`.
        repeats: measured processes for each artifact.
        seed: of the order, which is new in each round.
        warm_up: start with an unmeasured process for each artifact, so that its files and those of
            the runtime are in the page cache. Emptying the cache instead takes root's rights and
            slows down everyone on the machine, so it is not offered.
        progress: show how far it is, where a person watches.

    Raises:
        InputError: the inputs are no arrays, or have no rows.
        ValueError: no candidates, no repeats, or an option that an artifact does not have.
    """
    if not isinstance(candidates, Mapping) or not candidates:
        raise ValueError(
            f"candidates: expected at least one, as {{name: path}}, got {candidates!r}"
        )
    if repeats < 1:
        raise ValueError(f"repeats: expected a whole number from 1 on, got {repeats!r}")
    with (
        tempfile.TemporaryDirectory(prefix="helpers_cold_start_") as folder,
        Progress(progress) as line,
    ):
        path = Path(folder, "inputs.npz")
        rows = None if inputs is None else save_inputs(path, inputs)
        turns = _turns(list(candidates), repeats + warm_up, seed)
        runs, failures = _run_all(candidates, turns, path, rows, line)
    state = "warm" if warm_up else "unknown"
    measured = {name: tuple(found[warm_up:]) for name, found in runs.items()}
    return ColdStartReport(
        tuple(ColdStart(name, found, state) for name, found in measured.items()), failures
    )


def _run_all(
    candidates: Mapping[str, Candidate | str | Path],
    turns: Sequence[tuple[int, str]],
    inputs: Path,
    rows: int | None,
    line: Progress,
) -> tuple[dict[str, list[ColdStartRun]], dict[str, str]]:
    """Return the runs of the candidates that answered each time, and why the others did not."""
    runs: dict[str, list[ColdStartRun]] = {name: [] for name in candidates}
    failures: dict[str, str] = {}
    for done, (number, name) in enumerate(turns):
        if name in failures:
            continue
        line.show(f"cold start of {name}, run {number + 1}", done / len(turns))
        try:
            runs[name].append(_run_once(as_candidate(candidates[name]), inputs, rows))
        except (ArtifactError, WorkerError) as error:
            failures[name] = str(error)
            del runs[name]
    return runs, failures


def _turns(names: list[str], rounds: int, seed: int) -> list[tuple[int, str]]:
    """Return the number of a round and a name: every name once in each round, in random order."""
    orders = islice(random_orders(names, seed), rounds)
    return [(number, name) for number, order in enumerate(orders) for name in order]


def _run_once(candidate: Candidate, inputs: Path, rows: int | None) -> ColdStartRun:
    request = {
        "candidate": candidate.request(),
        "inputs": None if rows is None else str(inputs),
        "rows": rows,
    }
    start = time.perf_counter()
    with Worker(WORKER_MODULE, inputs.parent / "worker") as worker:
        reply = worker.ask(request, TIMEOUT_S)
        total_ms = 1e3 * (time.perf_counter() - start)
    total_ms -= reply.pop("inputs_ms")
    return ColdStartRun(total_ms=total_ms, **reply)
