"""What counts as right: a model's answers, its golden run, and what they can prove."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from helpers.costs.candidate import Candidate, as_candidate
from helpers.costs.opened import OpenedArtifact
from helpers.costs.worker import run_golden
from helpers.formats import KerasRuntime, Runtime
from helpers.formats.sample_inputs import sample_inputs
from helpers.formats.tensors import Arrays, InputError, name_arrays, take_rows
from helpers.parity import ParityReport, check_parity
from helpers.parity.compare import Outputs

if TYPE_CHECKING:
    import keras

PROBE_ROWS = 64


class Remembered(Runtime):
    """A runtime that answers each request once: every artifact is asked the same."""

    def __init__(self, runtime: Runtime) -> None:
        super().__init__(runtime.name, runtime.inputs, runtime.outputs)
        self._model = runtime
        self._answers: dict[str, list[np.ndarray]] = {}

    def _run(self, feeds: dict[str, np.ndarray]) -> list[np.ndarray]:
        key = hashlib.sha256()
        for array in feeds.values():
            key.update(repr((array.shape, array.dtype)).encode())
            key.update(repr(array.tolist()).encode() if array.dtype == object else array.tobytes())
        if key.hexdigest() not in self._answers:
            self._answers[key.hexdigest()] = self._model.prepare(feeds)()
        return self._answers[key.hexdigest()]


@dataclass(frozen=True)
class Reference:
    """The model that the artifacts are compared with, and what it answers.

    Attributes:
        path: of the artifact that it is; None for a model in memory.
        feeds: all rows of the inputs, by its own input names; the first 64 are the probe.
        answers: what it answers to the probe.
        golden: its outputs in float64, where there is such a run.
        proves: whether a fault can show in these answers.
        notes: what a reader must know before trusting the verdicts.
    """

    path: str | None
    feeds: dict[str, np.ndarray]
    answers: Runtime
    golden: Outputs | None
    proves: bool
    notes: tuple[str, ...]

    def compare(self, runtime: Runtime) -> ParityReport:
        """Compare an artifact with it.

        Raises:
            InputError: the artifact takes other inputs.
        """
        return check_parity(runtime, self.answers, self.probe, self.golden)

    @property
    def probe(self) -> dict[str, np.ndarray]:
        """The rows that are compared."""
        return take_rows(self.feeds, slice(PROBE_ROWS))


def ask_reference(
    reference: keras.Model | Candidate | str | Path,
    inputs: Arrays | None,
    seed: int,
    folder: Path,
) -> Reference:
    """Ask the reference all that the artifacts will be asked.

    A file is opened in a process of its own, which has ended when this returns.

    Raises:
        ArtifactError: there is no such file.
        InputError: the inputs do not fit it.
        ValueError: it does not run on them.
        WorkerError: it cannot be opened.
    """
    if not isinstance(reference, Candidate | str | Path):
        runtime = KerasRuntime(reference)
        return _ask(runtime, None, inputs, seed, partial(run_golden, reference))
    with OpenedArtifact(as_candidate(reference), folder) as artifact:
        artifact.wait()
        is_keras = artifact.request.kind in ("keras", "h5")
        return _ask(artifact, artifact.request.path, inputs, seed,
                    artifact.golden if is_keras else None)  # fmt: skip


def _ask(
    runtime: Runtime,
    path: str | None,
    inputs: Arrays | None,
    seed: int,
    golden_of: Callable[[Arrays], tuple[Outputs | None, bool, str | None]] | None,
) -> Reference:
    notes: list[str] = []
    if inputs is None:
        made_up = sample_inputs(runtime.inputs, rows=PROBE_ROWS, seed=seed)
        inputs = made_up.arrays
        notes += ["the inputs are random; real ones test more", *made_up.notes]
    feeds = name_arrays(inputs, runtime.inputs)
    probe = take_rows(feeds, slice(PROBE_ROWS))
    answers = Remembered(runtime)
    try:
        check_parity(answers, answers, probe)  # asks at every batch size, and remembers
    except InputError:
        raise
    except Exception as error:
        raise ValueError(
            f"the reference does not run on these inputs ({error}). Give inputs that it takes."
        ) from error
    golden, proves = None, True
    note: str | None = "the reference is no Keras model: parity means tolerances only"
    if golden_of is not None:
        golden, proves, note = golden_of(probe)
    if note is not None:
        notes.append(note)
    return Reference(path, feeds, answers, golden, proves, tuple(notes))
