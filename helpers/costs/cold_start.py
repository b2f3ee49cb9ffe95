"""How long a fresh process needs from its start to its first answer, and how much memory."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path

import numpy as np

from helpers.costs.arrays import name_inputs
from helpers.costs.candidate import Candidate, as_candidate
from helpers.costs.cold_start_results import ColdStart, ColdStartReport, ColdStartRun
from helpers.costs.latency import check_candidates, random_orders
from helpers.costs.opened import OpenedArtifact
from helpers.costs.process import WorkerError
from helpers.formats.identify import ArtifactError
from helpers.formats.sample_inputs import sample_inputs
from helpers.formats.tensors import Arrays, InputError
from helpers.progress import Progress


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
    check_candidates(candidates)
    if repeats < 1:
        raise ValueError(f"repeats: expected a whole number from 1 on, got {repeats!r}")
    arrays = None if inputs is None else name_inputs(inputs)
    runs: dict[str, list[ColdStartRun]] = {name: [] for name in candidates}
    failures: dict[str, str] = {}
    turns = list(in_turns(list(candidates), repeats + warm_up, seed))
    with Progress(progress) as line:
        for done, (number, name) in enumerate(turns):
            if name in failures:
                continue
            line.show(f"cold start of {name}, run {number + 1}", done / len(turns))
            try:
                runs[name].append(_run_once(as_candidate(candidates[name]), arrays))
            except (ArtifactError, InputError, WorkerError) as error:
                failures[name] = str(error)
                del runs[name]
    state = "warm" if warm_up else "unknown"
    measured = {name: tuple(found[warm_up:]) for name, found in runs.items()}
    return ColdStartReport(
        tuple(ColdStart(name, found, state) for name, found in measured.items()), failures
    )


def in_turns(names: Sequence[str], rounds: int, seed: int) -> Iterator[tuple[int, str]]:
    """Yield the number of a round and a name: every name once in each round, in random order."""
    orders = islice(random_orders(names, seed), rounds)
    return ((number, name) for number, order in enumerate(orders) for name in order)


def _run_once(candidate: Candidate, arrays: Mapping[str, np.ndarray] | None) -> ColdStartRun:
    with (
        tempfile.TemporaryDirectory(prefix="helpers_cold_start_") as folder,
        OpenedArtifact(candidate, Path(folder)) as artifact,
    ):
        artifact.wait()
        if arrays is None:
            arrays = sample_inputs(artifact.inputs, rows=1).arrays
        return artifact.first_call(arrays)
