"""Measure one model and its artifacts, and put the results in one table."""

from __future__ import annotations

import importlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from helpers.cold_start import ColdStartReport, compare_cold_starts
from helpers.latency import Candidate, LatencyReport, measure_latency
from helpers.parity import (
    GoldenError,
    ParityReport,
    ProbeError,
    check_parity,
    check_probe,
    float64_reference,
)
from helpers.runtimes import KerasRuntime, Runtime, open_artifact
from helpers.sample_inputs import sample_inputs
from helpers.scorecard.card import Scorecard
from helpers.scorecard.traits import read_traits
from helpers.size import ArtifactSize, artifact_size
from helpers.tensors import Arrays, InputError, name_arrays, rename_arrays, take_rows
from helpers.workers.candidate import as_candidate, open_candidate

if TYPE_CHECKING:
    import keras

Artifacts = Mapping[str, Candidate | str | Path]
PROBE_ROWS = 64


@dataclass(frozen=True)
class _Reference:
    """The model that the artifacts are compared with, and what it should answer."""

    runtime: Runtime
    inputs: Arrays
    golden: Any
    notes: tuple[str, ...]


def scorecard(
    reference: keras.Model | str | Path,
    artifacts: Artifacts,
    inputs: Arrays | None = None,
    *,
    batch_sizes: Sequence[int] = (1, 32, 256),
    budget_s: float = 20.0,
    cold_starts: int = 3,
    threads: int = 1,
    seed: int = 0,
    progress: bool = True,
) -> Scorecard:
    """Compare artifacts of one model: right or wrong, size, cold start, memory, latency, traits.

    Args:
        reference: the source model, or the path of an artifact that counts as right. With a Keras
            model or file, the comparison has a float64 golden run and a checked probe.
        artifacts: by name: a path, or a `Candidate` with options.
        inputs: real inputs as the reference takes them; the first 64 rows are the probe. None makes
            up random ones from the reference's signature, which the notes say.
        batch_sizes: rows in one call, for the latency.
        budget_s: seconds for all timed calls together; starting the processes comes on top.
        cold_starts: fresh processes for each artifact.
        threads: of each runtime.
        seed: of the made-up inputs and of the order of measurements.
        progress: show how far it is, where a person watches.

    An artifact that cannot be opened or does not answer keeps its row, with a note.

    Raises:
        ArtifactError: the reference or an artifact is not there, or no artifact.
        InputError: the inputs do not fit the reference, or an artifact takes other inputs.
        ValueError: no artifacts, or an argument out of range.
    """
    if not artifacts:
        raise ValueError("artifacts: expected at least one path by name, got none")
    if budget_s <= 0:
        raise ValueError(f"budget_s: expected a positive number of seconds, got {budget_s}")
    candidates = {name: as_candidate(each) for name, each in artifacts.items()}
    sizes = {name: artifact_size(each.path) for name, each in candidates.items()}
    prepared = _prepare_reference(reference, inputs, seed, candidates.values())
    parity, notes = _check_all(prepared, candidates)
    feeds = name_arrays(prepared.inputs, prepared.runtime.inputs)
    options = {"seed": seed, "progress": progress}
    starts = compare_cold_starts(
        candidates, take_rows(feeds, slice(1)), repeats=cold_starts, **options
    )
    latency = measure_latency(
        candidates, feeds, batch_sizes=batch_sizes, budget_s=budget_s, threads=threads, **options
    )
    rows = {
        name: _row(name, candidates[name], parity.get(name), sizes[name], starts, latency)
        for name in candidates
    }
    table = pd.DataFrame.from_dict(rows, orient="index")
    table.index.name = "artifact"
    failures = [f"{name} has no cold start: {text}" for name, text in starts.failures.items()]
    failures += [f"no latency of {failure}" for failure in latency.failures]
    all_notes = (*prepared.notes, *notes, *failures, *latency.warnings, *latency.notes)
    return Scorecard(table, parity, latency, starts, sizes, all_notes)


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
    feeds = take_rows(name_arrays(inputs, runtime.inputs), slice(PROBE_ROWS))
    golden = None
    try:
        runtime(feeds)
    except InputError:
        raise
    except Exception as error:
        raise ValueError(
            f"the reference does not run on these inputs ({type(error).__name__}: {error}). "
            "Give inputs that it takes."
        ) from error
    if isinstance(runtime, KerasRuntime):
        try:
            golden = float64_reference(runtime.model, feeds)
            check_probe(runtime.model, feeds, golden)
        except GoldenError as error:
            notes.append(f"no golden run, so parity means tolerances only: {error}")
        except ProbeError as error:
            notes.append(f"parity proves little: {error}")
    else:
        notes.append("the reference is no Keras model: parity means tolerances only")
    return _Reference(runtime, feeds, golden, tuple(notes))


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
                runtime, reference.runtime, reference.inputs, reference.golden
            )
        notes += [f"{name}, {finding}" for finding in reports[name].findings]
    return reports, notes


def _check_signature(name: str, runtime: Runtime, reference: _Reference) -> None:
    """Refuse an artifact that takes other inputs: it is no artifact of this model."""
    try:
        feeds = rename_arrays(
            name_arrays(reference.inputs, reference.runtime.inputs),
            reference.runtime.inputs,
            runtime.inputs,
        )
        fixed = {spec.shape[0] for spec in runtime.inputs if spec.shape} - {None}
        name_arrays(take_rows(feeds, slice(max(fixed, default=1))), runtime.inputs)
    except InputError as error:
        raise InputError(f"{name} takes other inputs than the reference: {error}") from error


def _row(
    name: str,
    candidate: Candidate,
    parity: ParityReport | None,
    size: ArtifactSize,
    starts: ColdStartReport,
    latency: LatencyReport,
) -> dict[str, Any]:
    traits = read_traits(candidate.path, size)
    start = next((each for each in starts.results if each.candidate == name), None)
    results = [each for each in latency.results if each.candidate == name]
    row: dict[str, Any] = {
        "parity": "FAILED" if parity is None or not parity.passed else "passed",
        "max_abs": None if parity is None else parity.max_abs,
        "error_ratio": None if parity is None else parity.rmse_ratio,
        "size_kib": size.total_bytes / 1024,
        "cold_start_ms": None if start is None else start.total_ms,
        "peak_rss_mib": None if start is None else start.peak_rss_mib,
    }
    for result in results:
        row[f"p50_us_{result.batch_size}"] = result.p50_us
        row[f"p90_us_{result.batch_size}"] = result.p90_us
    row["rows_per_s"] = max((each.batch_size * 1e6 / each.p50_us for each in results), default=None)
    return row | {
        "needs_tensorflow": traits.needs_tensorflow,
        "needs_your_code": traits.needs_your_code,
        "resumes_training": traits.resumes_training,
    }
