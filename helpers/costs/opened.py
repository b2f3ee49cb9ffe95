"""The manager's side of one artifact: its process, from the start to the last visit."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from helpers.costs import messages
from helpers.costs.arrays import load_arrays, save_arrays
from helpers.costs.candidate import Candidate
from helpers.costs.cold_start_results import ColdStartRun
from helpers.costs.process import Worker
from helpers.formats import ArtifactSize, Traits
from helpers.formats.format import StoredFile
from helpers.formats.runtime import Runtime
from helpers.formats.tensors import TensorSpec
from helpers.parity.evidence import Evidence
from helpers.parity.golden_rule import GoldenArray

WORKER_MODULE = "helpers.costs.worker"
TIMEOUT_S = 300.0


class OpenedArtifact(Runtime):
    """An artifact that is open in a process of its own; call it as any other runtime.

    Use it in a ``with`` block, which ends the process. To make one returns at once, so that several
    can start together; `wait` returns when the artifact is open.

    Args:
        candidate: what to open.
        folder: for its files; the caller removes it.
        threads: unless the candidate has its own; None keeps the runtime's default.
        alone: see `Candidate.request`.
        timeout_s: the longest wait for a reply.

    Raises:
        ArtifactError, ValueError: see `Candidate.request`.
    """

    def __init__(
        self,
        candidate: Candidate,
        folder: Path,
        threads: int | None = None,
        *,
        alone: bool = False,
        timeout_s: float = TIMEOUT_S,
    ) -> None:
        self.request: messages.Open = candidate.request(threads, alone=alone)
        self._folder, self._timeout_s = folder, timeout_s
        self.names_by_layer: Mapping[str, str] = {}
        self._started = time.perf_counter()
        self._model = Worker(WORKER_MODULE, folder, self.request.threads)
        self._model.send(messages.to_json(self.request))

    @property
    def process_id(self) -> int:
        """Of its process."""
        return self._model.process_id

    def wait(self) -> OpenedArtifact:
        """Wait until it is open, and learn what it takes and gives.

        Raises:
            WorkerError: it cannot be opened.
        """
        self.opened = messages.Opened(**self._model.receive(self._timeout_s))
        self.open_ms = 1e3 * (time.perf_counter() - self._started)
        inputs, outputs = (
            [TensorSpec(name, None if shape is None else tuple(shape), dtype)
             for name, shape, dtype in tensors]
            for tensors in (self.opened.inputs, self.opened.outputs)
        )  # fmt: skip
        super().__init__(self.opened.runtime, inputs, outputs)
        return self

    def ask(self, request: messages.Request, *, more_s: float = 0.0) -> Any:
        """Ask, and return the reply that belongs to the request.

        Raises:
            WorkerError: see `Worker.receive`.
        """
        reply = self._model.ask(messages.to_json(request), self._timeout_s + more_s)
        return messages.REPLIES[type(request)](**reply)

    def first_call(self, arrays: Mapping[str, np.ndarray]) -> ColdStartRun:
        """Answer for the first time; see `ColdStart` for what is measured."""
        answered = self.ask(messages.Answer(self.write("first", arrays), self._path("answers")))
        return ColdStartRun(
            self.opened.import_ms,
            self.opened.load_ms,
            answered.call_ms,
            self.open_ms + answered.call_ms,
            answered.peak_rss_mib,
        )

    def _run(self, feeds: dict[str, np.ndarray]) -> list[np.ndarray]:
        answers = self._path("answers")
        self.ask(messages.Answer(self.write("inputs", feeds), answers))
        return list(load_arrays(answers).values())

    def golden(self, arrays: Mapping[str, np.ndarray]) -> Evidence:
        """Run the model in float64 and try the probe; see `gather_evidence`."""
        answers = self._path("golden")
        found = self.ask(messages.RunGolden(self.write("probe", arrays), answers))
        self.names_by_layer = found.names_by_layer
        if not found.answers:
            return Evidence(None, found.proves, found.note)
        stored = load_arrays(answers)
        golden = {
            name: GoldenArray.of(
                array, tuple(found.float32_layers[name]), stored.get(f"{messages.DOUBT}{name}")
            )
            for name, array in stored.items()
            if not name.startswith(messages.DOUBT)
        }
        single = next(iter(golden.values()))
        return Evidence(golden if len(golden) > 1 else single, found.proves, found.note)

    def measure_spread(self, feeds: Mapping[str, np.ndarray], size: int) -> dict[str, np.ndarray]:
        """See `helpers.parity.spread.measure_spread`."""
        answers = self._path("spread")
        self.ask(messages.FindSpread(self.write("feeds", feeds), answers, size))
        return load_arrays(answers)

    def warm_up(self, arrays: str, batch_sizes: Sequence[int], threads: int) -> messages.Warm:
        """Get it ready to be timed with the rows in a file; nothing but visits may follow."""
        return self.ask(messages.WarmUp(arrays, list(batch_sizes), threads))

    def visit(self, batch_size: int, seconds: float, max_calls: int) -> messages.Visited:
        """Time calls with one batch size."""
        return self.ask(messages.Visit(batch_size, seconds, max_calls), more_s=seconds)

    def weigh(self) -> tuple[ArtifactSize, Traits]:
        """Read what the file holds; a process that has ended over it is replaced."""
        request = messages.Weigh(self.request.path)
        if self._model.exit_code is None:
            found = self.ask(request)
        else:
            with Worker(WORKER_MODULE, self._folder / "weigh") as worker:
                found = messages.Weighed(**worker.ask(messages.to_json(request), self._timeout_s))
        files = tuple(StoredFile(*each) for each in found.size["files"])
        fields = {**found.size, "path": Path(self.request.path), "files": files,
                  "flags": tuple(found.size["flags"])}  # fmt: skip
        return ArtifactSize(**fields), Traits(**found.traits)

    def write(self, name: str, arrays: Mapping[str, np.ndarray]) -> str:
        """Write arrays where the process can read them, and return the path."""
        path = self._path(name)
        save_arrays(Path(path), arrays)
        return path

    def _path(self, name: str) -> str:
        return str(self._folder / f"{name}.npz")

    def close(self) -> None:
        """End the process."""
        if "_model" in vars(self):
            self._model.close()
        super().close()
