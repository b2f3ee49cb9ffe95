"""Decide whether artifacts answer as their model does; what they cost is another matter."""

from __future__ import annotations

import importlib
import pickle
import sys
import tempfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from helpers.costs.candidate import Candidate, open_candidate
from helpers.costs.memory import give_back_memory
from helpers.costs.process import Worker
from helpers.formats import KerasRuntime, Runtime, open_artifact
from helpers.formats.sample_inputs import sample_inputs
from helpers.formats.tensors import Arrays, InputError, name_arrays, rename_arrays, take_rows
from helpers.parity import (
    GoldenError,
    ParityReport,
    ProbeError,
    check_parity,
    check_probe,
    float64_reference,
)

if TYPE_CHECKING:
    import keras

PROBE_ROWS = 64
WORKER_MODULE = "helpers.costs.check_worker"
TIMEOUT_S = 600.0


@dataclass(frozen=True)
class Checked:
    """What the comparison found.

    Attributes:
        feeds: all rows of the inputs, by the reference's input names; the first 64 were compared.
        parity: by artifact; one that could not be opened is missing, and a note says why.
        notes: what a reader must know before trusting the verdicts.
    """

    feeds: dict[str, np.ndarray]
    parity: dict[str, ParityReport]
    notes: tuple[str, ...]


@dataclass(frozen=True)
class _Reference:
    """The model that the artifacts are compared with, and what it should answer."""

    runtime: Runtime
    feeds: dict[str, np.ndarray]
    probe: dict[str, np.ndarray]
    golden: Any
    notes: tuple[str, ...]


def check_artifacts(
    reference: keras.Model | str | Path,
    candidates: Mapping[str, Candidate],
    inputs: Arrays | None,
    seed: int,
) -> Checked:
    """Compare each artifact with the reference; see `helpers.scorecard.scorecard`."""
    prepared = _prepare_reference(reference, inputs, seed, candidates.values())
    parity, notes = _check_all(prepared, candidates)
    return Checked(prepared.feeds, parity, (*prepared.notes, *notes))


def check_artifacts_apart(
    reference: str | Path, candidates: Mapping[str, Candidate], inputs: Arrays | None, seed: int
) -> Checked:
    """Do the same in a fresh process, whose memory is free again when this returns.

    Raises:
        ValueError: the reference is a model in memory, which the other process does not have.
        WorkerError: what `check_artifacts` raises, in words; or the process crashed.
    """
    if not isinstance(reference, str | Path):
        raise ValueError(
            f"apart: a process of its own can open a path, but not a {type(reference).__name__} in "
            "this process. Save the model, and give the path as the reference."
        )
    with tempfile.TemporaryDirectory(prefix="helpers_check_") as folder:
        found = Path(folder, "found.pickle")
        Path(folder, "task.pickle").write_bytes(
            pickle.dumps((sys.path, (reference, dict(candidates), inputs, seed)))
        )
        with Worker(WORKER_MODULE, Path(folder, "worker")) as worker:
            worker.ask({"folder": folder}, TIMEOUT_S)
        return pickle.loads(found.read_bytes())


def _prepare_reference(
    reference: keras.Model | str | Path,
    inputs: Arrays | None,
    seed: int,
    candidates: Iterable[Candidate],
) -> _Reference:
    for module in {module for each in candidates for module in each.imports}:
        importlib.import_module(module)
    notes: list[str] = []
    if isinstance(reference, str | Path):
        runtime = open_artifact(reference)
    else:
        runtime = KerasRuntime(reference)
    if inputs is None:
        made_up = sample_inputs(runtime.inputs, rows=PROBE_ROWS, seed=seed)
        inputs = made_up.arrays
        notes += ["the inputs are random; real ones test more", *made_up.notes]
    feeds = name_arrays(inputs, runtime.inputs)
    probe = take_rows(feeds, slice(PROBE_ROWS))
    golden = None
    try:
        runtime(probe)
    except InputError:
        raise
    except Exception as error:
        raise ValueError(
            f"the reference does not run on these inputs ({type(error).__name__}: {error}). "
            "Give inputs that it takes."
        ) from error
    if isinstance(runtime, KerasRuntime):
        try:
            golden = float64_reference(runtime.model, probe)
            check_probe(runtime.model, probe, golden)
        except GoldenError as error:
            notes.append(f"no golden run, so parity means tolerances only: {error}")
        except ProbeError as error:
            notes.append(f"parity proves little: {error}")
    else:
        notes.append("the reference is no Keras model: parity means tolerances only")
    give_back_memory()  # the float64 copy, before the artifacts need theirs
    return _Reference(runtime, feeds, probe, golden, tuple(notes))


def _check_all(
    reference: _Reference, candidates: Mapping[str, Candidate]
) -> tuple[dict[str, ParityReport], list[str]]:
    reports, notes = {}, []
    for name, candidate in candidates.items():
        try:
            runtime = open_candidate(candidate)
        except ValueError as error:  # ArtifactError: the row stays, without a verdict
            notes.append(f"{name} cannot be opened: {error}")
            continue
        with runtime:
            _check_signature(name, runtime, reference)
            reports[name] = check_parity(
                runtime, reference.runtime, reference.probe, reference.golden
            )
        if findings := reports[name].findings:
            more = f" (and {len(findings) - 1} more of its findings)" if findings[1:] else ""
            notes.append(f"{name}, {findings[0]}{more}")
    return reports, notes


def _check_signature(name: str, runtime: Runtime, reference: _Reference) -> None:
    """Refuse an artifact that takes other inputs: it is no artifact of this model."""
    try:
        feeds = rename_arrays(reference.probe, reference.runtime.inputs, runtime.inputs)
        fixed = {spec.shape[0] for spec in runtime.inputs if spec.shape} - {None}
        name_arrays(take_rows(feeds, slice(max(fixed, default=1))), runtime.inputs)
    except InputError as error:
        raise InputError(f"{name} takes other inputs than the reference: {error}") from error
