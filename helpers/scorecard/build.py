"""Measure one model and its artifacts, and put the results in one table."""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from helpers.costs.candidate import Candidate, as_candidate
from helpers.costs.cold_start import compare_cold_starts
from helpers.costs.cold_start_results import ColdStart, ColdStartReport, ColdStartRun
from helpers.costs.latency import Rounds, check_latency_options
from helpers.costs.opened import OpenedArtifact
from helpers.costs.process import WorkerError
from helpers.formats import ArtifactError, ArtifactSize, Traits
from helpers.formats.tensors import Arrays, InputError, take_rows
from helpers.parity import ParityReport
from helpers.progress import Progress
from helpers.scorecard.card import Scorecard
from helpers.scorecard.reference import Reference, ask_reference

if TYPE_CHECKING:
    import keras

Artifacts = Mapping[str, Candidate | str | Path]


def scorecard(
    reference: keras.Model | Candidate | str | Path,
    artifacts: Artifacts,
    inputs: Arrays | None = None,
    *,
    batch_sizes: Sequence[int] = (1, 32, 256),
    budget_s: float = 20.0,
    cold_starts: int = 3,
    warm_up: bool = True,
    threads: int = 1,
    at_once: int | None = None,
    seed: int = 0,
    progress: bool = True,
) -> Scorecard:
    """Compare artifacts of one model: right or wrong, size, cold start, memory, latency, traits.

    Each artifact has a process of its own. It is opened and answers for the first time, which is
    a cold start; it answers to the probe; it is timed in turns with others; it is weighed. So what
    is judged right is what was measured. Nothing is opened in the process of the caller.

    Args:
        reference: the source model, or the path or `Candidate` of an artifact that counts as right;
            a path gets the imports of all artifacts. With a Keras model or file, the comparison has
            a float64 golden run and a checked probe.
        artifacts: by name: a path, or a `Candidate` with options.
        inputs: real inputs as the reference takes them; the first 64 rows are the probe. None makes
            up random ones from the reference's signature, which the notes say.
        batch_sizes: rows in one call, for the latency.
        budget_s: seconds for all timed calls together; starting the processes comes on top.
        cold_starts: fresh processes for each artifact; the last one goes on.
        warm_up: start an unmeasured process for each artifact before; see `compare_cold_starts`.
        threads: of each runtime.
        at_once: how many artifacts may be open at a time; None opens all. Each process of
            TensorFlow needs about 400 MB: fewer at a time spare memory. Artifacts that were not
            open together are compared less exactly, which a note says. Neighbours in `artifacts`
            go to different groups.
        seed: of the made-up inputs and of the order of measurements.
        progress: show how far it is, where a person watches.

    Whatever an artifact does, it keeps its row, with a note: it cannot be opened, takes other
    inputs, crashes or hangs.

    Raises:
        ArtifactError: there is no such reference or artifact.
        InputError: the inputs do not fit the reference.
        Interrupted: at Ctrl-C, with all that was measured until then.
        ValueError: no artifacts, or an argument out of range.
        WorkerError: the reference cannot be opened.
    """
    if not artifacts:
        raise ValueError("artifacts: expected at least one path by name, got none")
    check_latency_options(batch_sizes, budget_s, threads)
    for name, number in (("cold_starts", cold_starts), ("at_once", at_once or len(artifacts))):
        if number < 1:
            raise ValueError(f"{name}: expected a whole number from 1 on, got {number}")
    candidates = {name: as_candidate(each) for name, each in artifacts.items()}
    for each in candidates.values():
        if not Path(each.path).exists():
            each.request()  # says what is there instead
    if isinstance(reference, str | Path):
        imports = dict.fromkeys(name for each in candidates.values() for name in each.imports)
        reference = Candidate(reference, imports=tuple(imports))
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="helpers_scorecard_")))
        line = stack.enter_context(Progress(progress))
        line.show("asking the reference")
        asked = ask_reference(reference, inputs, seed, folder / "reference")
        found = _Findings(candidates, asked, Rounds(asked.feeds, batch_sizes, threads, seed))
        try:
            if cold_starts > 1 or warm_up:
                options = {"repeats": max(cold_starts - 1, 1), "seed": seed, "progress": progress}
                first = take_rows(asked.feeds, slice(1))
                report = compare_cold_starts(
                    candidates, first, warm_up=warm_up and cold_starts > 1, **options
                )
                found.add_starts(report.results if cold_starts > 1 else [], warm_up)
            groups = list(_in_groups(list(candidates), at_once or len(candidates)))
            for number, group in enumerate(groups):
                share_s = budget_s * len(group) / len(candidates)
                found.measure(group, share_s, folder / str(number), line)
        except KeyboardInterrupt:
            raise Interrupted(found.card(budget_s, "interrupted: the rest is missing")) from None
        if len(groups) > 1:
            return found.card(budget_s, f"measured in {len(groups)} parts, one after the other")
        return found.card(budget_s)


class Interrupted(KeyboardInterrupt):
    """Ctrl-C, and what was measured before it: `card`."""

    def __init__(self, card: Scorecard) -> None:
        super().__init__("interrupted")
        self.card = card


def _in_groups(names: Sequence[str], at_once: int) -> Iterator[Sequence[str]]:
    """Split into as few groups as possible; neighbours, often of one runtime, are parted."""
    count = -(-len(names) // at_once)
    return (names[start::count] for start in range(count))


class _Findings:
    """What is known of each artifact so far."""

    def __init__(
        self, candidates: Mapping[str, Candidate], reference: Reference, rounds: Rounds
    ) -> None:
        self._candidates, self._reference, self._rounds = candidates, reference, rounds
        self._runs: dict[str, list[ColdStartRun]] = {name: [] for name in candidates}
        self._parity: dict[str, ParityReport] = {}
        self._weighed: dict[str, tuple[ArtifactSize, Traits]] = {}
        self._start_failures: dict[str, str] = {}
        self._not_compared: set[str] = set()
        self._notes: list[str] = []
        self._page_cache = "unknown"

    def add_starts(self, starts: Sequence[ColdStart], warm: bool) -> None:
        """Note cold starts of processes that have ended, and whether the page cache was warm."""
        self._runs |= {each.candidate: list(each.runs) for each in starts}
        self._page_cache = "warm" if warm else "unknown"

    def measure(self, names: Sequence[str], budget_s: float, folder: Path, line: Progress) -> None:
        """Take some artifacts from their start to their weight, in processes of their own."""
        with ExitStack() as stack:
            opened = {}
            for number, name in enumerate(names):
                line.show(f"opening {name}")
                place = folder / str(number)
                try:
                    artifact = stack.enter_context(
                        OpenedArtifact(self._candidates[name], place, self._rounds.threads)
                    )
                except ArtifactError as error:  # no process was started
                    self._drop(name, f"{name} cannot be opened: {error}", str(error))
                    continue
                opened[name] = artifact
                self._start_and_compare(name, artifact)
            for name, artifact in opened.items():
                if name in self._parity:
                    start = time.perf_counter()
                    self._rounds.add(name, artifact, folder)
                    warmed_s = time.perf_counter() - start
                    self._rounds.startup_s += artifact.open_ms / 1e3 + warmed_s
            self._rounds.visit(budget_s, line)
            for name, artifact in opened.items():
                self._weigh(name, artifact)

    def _start_and_compare(self, name: str, artifact: OpenedArtifact) -> None:
        try:
            artifact.wait()
        except WorkerError as error:
            self._drop(name, f"{name} cannot be opened: {error}", str(error))
            return
        try:
            first = artifact.first_call(take_rows(self._reference.feeds, slice(1)))
            self._runs[name].append(first)
        except (WorkerError, InputError) as error:
            self._start_failures[name] = str(error)
        try:
            self._parity[name] = self._reference.compare(artifact)
        except InputError as error:
            self._not_compared.add(name)
            self._notes.append(f"{name} takes other inputs than the reference: {error}")
            return
        except ValueError as error:
            self._not_compared.add(name)
            self._notes.append(f"{name} cannot be compared: {error}")
            return
        self._notes += [f"{name}: {note}" for note in self._parity[name].notes]
        if findings := self._parity[name].findings:
            more = f" (and {len(findings) - 1} more of its findings)" if findings[1:] else ""
            self._notes.append(f"{name}, {findings[0]}{more}")

    def _drop(self, name: str, note: str, reason: str) -> None:
        self._not_compared.add(name)
        self._notes.append(note)
        self._start_failures[name] = reason
        self._runs.pop(name, None)

    def _weigh(self, name: str, artifact: OpenedArtifact) -> None:
        try:
            self._weighed[name] = artifact.weigh()
        except WorkerError as error:
            self._notes.append(f"{name} cannot be weighed: {error}")

    def card(self, budget_s: float, *notes: str) -> Scorecard:
        """Put all of it in a table."""
        starts = ColdStartReport(
            tuple(
                ColdStart(name, tuple(runs), self._page_cache)
                for name, runs in self._runs.items()
                if runs
            ),
            self._start_failures,
        )
        latency = self._rounds.report(budget_s, *notes)
        rows = {name: self._row(name, starts, latency) for name in self._candidates}
        table = pd.DataFrame.from_dict(rows, orient="index")
        table.index.name = "artifact"
        missing = [f"no latency of {failure}" for failure in latency.failures]
        all_notes = (*self._reference.notes, *self._notes, *missing, *latency.warnings,
                     *latency.notes)  # fmt: skip
        sizes = {name: size for name, (size, _) in self._weighed.items()}
        return Scorecard(table, self._parity, latency, starts, sizes, all_notes)

    def _row(self, name: str, starts: ColdStartReport, latency: Any) -> dict[str, Any]:
        parity = self._parity.get(name)
        size, traits = self._weighed.get(name, (None, None))
        start = next((each for each in starts.results if each.candidate == name), None)
        results = [each for each in latency.results if each.candidate == name]
        row: dict[str, Any] = {
            "parity": self._verdict(name),
            "max_abs": parity and parity.max_abs,
            "error_ratio": parity and parity.rmse_ratio,
            "size_kib": size and size.total_bytes / 1024,
            "cold_start_ms": start and start.total_ms,
            "peak_rss_mib": start and start.peak_rss_mib,
        }
        for result in results:
            row[f"p50_us_{result.batch_size}"] = result.p50_us
            row[f"p90_us_{result.batch_size}"] = result.p90_us
        row["rows_per_s"] = max(
            (each.batch_size * 1e6 / each.p50_us for each in results), default=None
        )
        return row | {
            "needs_tensorflow": traits and traits.needs_tensorflow,
            "needs_your_code": traits and traits.needs_your_code,
            "resumes_training": traits and traits.resumes_training,
        }

    def _verdict(self, name: str) -> str | None:
        parity = self._parity.get(name)
        if parity is None:
            return "FAILED" if name in self._not_compared else None
        if not self._reference.repeats:
            return "unproved"
        if not parity.passed:
            return "FAILED"
        if os.path.abspath(self._candidates[name].path) == self._reference.path:
            return "reference"
        return "passed" if self._reference.evidence.proves else "unproved"
