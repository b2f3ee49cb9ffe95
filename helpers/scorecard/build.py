"""Measure one model and its artifacts, and put the results in one table."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from helpers.costs.candidate import Candidate, as_candidate
from helpers.costs.cold_start import compare_cold_starts
from helpers.costs.cold_start_report import ColdStartReport
from helpers.costs.latency import measure_latency
from helpers.costs.latency_report import LatencyReport
from helpers.costs.memory import give_back_memory
from helpers.formats import ArtifactSize, artifact_size, read_traits
from helpers.formats.tensors import Arrays, take_rows
from helpers.parity import ParityReport
from helpers.scorecard.card import Scorecard
from helpers.scorecard.check import check_artifacts, check_artifacts_apart
from helpers.scorecard.join import join_latency

if TYPE_CHECKING:
    import keras

Artifacts = Mapping[str, Candidate | str | Path]


def scorecard(
    reference: keras.Model | str | Path,
    artifacts: Artifacts,
    inputs: Arrays | None = None,
    *,
    batch_sizes: Sequence[int] = (1, 32, 256),
    budget_s: float = 20.0,
    cold_starts: int = 3,
    warm_up: bool = True,
    threads: int = 1,
    apart: bool = False,
    groups: Sequence[Sequence[str]] | None = None,
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
        warm_up: start an unmeasured process for each artifact before; see `compare_cold_starts`.
        threads: of each runtime.
        apart: compare the answers in a process of its own, which ends before the measurements; the
            reference must then be a path. Spares memory, and costs a start of TensorFlow.
        groups: names whose latency is measured together, in random turns; None measures all
            together. Each process of TensorFlow needs about 300 MB: groups spare memory, but
            artifacts of different groups are compared less exactly, which a note says.
        seed: of the made-up inputs and of the order of measurements.
        progress: show how far it is, where a person watches.

    An artifact that cannot be opened or does not answer keeps its row, with a note.

    Raises:
        ArtifactError: the reference or an artifact is not there, or no artifact.
        InputError: the inputs do not fit the reference, or an artifact takes other inputs.
        ValueError: no artifacts, or an argument out of range.
        WorkerError: with `apart`, any of these; the message is the same.
    """
    if not artifacts:
        raise ValueError("artifacts: expected at least one path by name, got none")
    if budget_s <= 0:
        raise ValueError(f"budget_s: expected a positive number of seconds, got {budget_s}")
    groups = _check_groups(groups, artifacts)
    candidates = {name: as_candidate(each) for name, each in artifacts.items()}
    sizes = {name: artifact_size(each.path) for name, each in candidates.items()}
    check = check_artifacts_apart if apart else check_artifacts
    give_back_memory()  # the processes that follow need it more
    checked = check(reference, candidates, inputs, seed)
    options = {"seed": seed, "progress": progress}
    starts = compare_cold_starts(
        candidates,
        take_rows(checked.feeds, slice(1)),
        repeats=cold_starts,
        warm_up=warm_up,
        **options,
    )
    options |= {"batch_sizes": batch_sizes, "threads": threads}
    latency = _measure_groups(candidates, groups, checked.feeds, budget_s, **options)
    rows = {
        name: _row(name, candidates[name], checked.parity.get(name), sizes[name], starts, latency)
        for name in candidates
    }
    table = pd.DataFrame.from_dict(rows, orient="index")
    table.index.name = "artifact"
    failures = [f"{name} has no cold start: {text}" for name, text in starts.failures.items()]
    failures += [f"no latency of {failure}" for failure in latency.failures]
    all_notes = (*checked.notes, *failures, *latency.warnings, *latency.notes)
    return Scorecard(table, checked.parity, latency, starts, sizes, all_notes)


def _check_groups(
    groups: Sequence[Sequence[str]] | None, artifacts: Artifacts
) -> Sequence[Sequence[str]]:
    if groups is None:
        return [list(artifacts)]
    if sorted(name for group in groups for name in group) != sorted(artifacts):
        raise ValueError(f"groups: expected each of {sorted(artifacts)} in one group, got {groups}")
    return groups


def _measure_groups(
    candidates: Mapping[str, Candidate],
    groups: Sequence[Sequence[str]],
    feeds: Arrays,
    budget_s: float,
    **options: Any,
) -> LatencyReport:
    parts = []
    for group in groups:
        members = {name: candidates[name] for name in group}
        share_s = budget_s * len(members) / len(candidates)
        parts.append(measure_latency(members, feeds, budget_s=share_s, **options))
    return join_latency(*parts)


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
