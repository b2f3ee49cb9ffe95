"""What counts as right: a model's answers, its golden run, and what they can prove."""

from __future__ import annotations

import ctypes
import gc
import hashlib
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from helpers.costs.candidate import Candidate, as_candidate
from helpers.costs.opened import OpenedArtifact
from helpers.formats import KerasRuntime, Runtime
from helpers.formats.sample_inputs import sample_inputs
from helpers.formats.tensors import Arrays, InputError, name_arrays, take_rows
from helpers.parity import ParityReport, check_parity
from helpers.parity.compare import Outputs, compare_outputs
from helpers.parity.evidence import Evidence, gather_evidence
from helpers.parity.pairing import names_by_layer
from helpers.parity.spread import measure_spread

if TYPE_CHECKING:
    import keras

PROBE_ROWS = 64
ROWS_TWICE = 32


class Remembered(Runtime):
    """A runtime that answers each request once: every artifact is asked the same.

    Args:
        runtime: which one.
        reopen: opens the artifact again, for a spread that is needed after its process has ended.
    """

    def __init__(
        self, runtime: Runtime, reopen: Callable[[], AbstractContextManager[Runtime]] | None
    ) -> None:
        super().__init__(runtime.name, runtime.inputs, runtime.outputs)
        self._model, self._reopen = runtime, reopen
        self._answers: dict[str, list[np.ndarray]] = {}
        self._spreads: dict[tuple[str, int], dict[str, np.ndarray]] = {}

    @property
    def names_by_layer(self) -> Mapping[str, str]:
        """See `helpers.parity.pairing.names_by_layer`."""
        return names_by_layer(self._model)

    def measure_spread(self, feeds: Mapping[str, np.ndarray], size: int) -> dict[str, np.ndarray]:
        """See `helpers.parity.spread.measure_spread`; seldom needed, and measured when it is."""
        key = _fingerprint(feeds), size
        if key not in self._spreads:
            again = nullcontext(self._model) if self._reopen is None else self._reopen()
            with again as runtime:
                self._spreads[key] = measure_spread(runtime, feeds, size)
        return self._spreads[key]

    def ask_again(self, arrays: Arrays) -> Outputs:
        """Ask the runtime itself, whatever is remembered."""
        return self._model(arrays)

    def _run(self, feeds: dict[str, np.ndarray]) -> list[np.ndarray]:
        key = _fingerprint(feeds)
        if key not in self._answers:
            self._answers[key] = self._model.prepare(feeds)()
        return self._answers[key]


def _fingerprint(feeds: Mapping[str, np.ndarray]) -> str:
    digest = hashlib.sha256()
    for array in feeds.values():
        digest.update(repr((array.shape, array.dtype)).encode())
        digest.update(repr(array.tolist()).encode() if array.dtype == object else array.tobytes())
    return digest.hexdigest()


@dataclass(frozen=True)
class Reference:
    """The model that the artifacts are compared with, and what it answers.

    Attributes:
        path: of the artifact that it is; None for a model in memory.
        feeds: all rows of the inputs, by its own input names; the first 64 are the probe.
        answers: what it answers to the probe.
        evidence: what a comparison with these answers can prove.
        repeats: whether it gives the same answers when it is asked twice.
        notes: what a reader must know before trusting the verdicts.
    """

    path: str | None
    feeds: dict[str, np.ndarray]
    answers: Runtime
    evidence: Evidence
    repeats: bool
    notes: tuple[str, ...]

    def compare(self, runtime: Runtime) -> ParityReport:
        """Compare an artifact with it.

        Raises:
            InputError: the artifact takes other inputs.
        """
        return check_parity(runtime, self.answers, self.probe, self.evidence.golden)

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
        evidence_of = partial(gather_evidence, runtime, None)
        asked = _ask(Remembered(runtime, None), None, inputs, seed, evidence_of)
        give_back_memory()  # the float64 copy, before the processes of the artifacts need theirs
        return asked

    @contextmanager
    def opened(place: Path) -> Iterator[OpenedArtifact]:
        with OpenedArtifact(as_candidate(reference), place, alone=True) as artifact:
            yield artifact.wait()

    with opened(folder) as artifact:
        answers = Remembered(artifact, partial(opened, folder / "again"))
        return _ask(answers, artifact.request.path, inputs, seed, artifact.golden)


def _ask(
    answers: Remembered,
    path: str | None,
    inputs: Arrays | None,
    seed: int,
    evidence_of: Callable[[Arrays], Evidence],
) -> Reference:
    notes: list[str] = []
    if inputs is None:
        made_up = sample_inputs(answers.inputs, rows=PROBE_ROWS, seed=seed)
        inputs = made_up.arrays
        notes += ["the inputs are random; real ones test more", *made_up.notes]
    feeds = name_arrays(inputs, answers.inputs)
    probe = take_rows(feeds, slice(PROBE_ROWS))
    try:
        check_parity(answers, answers, probe)  # asks at every batch size, and remembers
    except InputError:
        raise
    except Exception as error:
        raise ValueError(
            f"the reference does not run on these inputs ({error}). Give inputs that it takes."
        ) from error
    rows = take_rows(probe, slice(ROWS_TWICE))
    repeats = compare_outputs(answers.ask_again(rows), answers(rows)).passed
    if not repeats:
        notes.append(
            "the reference gives other answers when it is asked twice, as a random layer does, or "
            "one that keeps a state: no comparison with it proves anything"
        )
    evidence = evidence_of(probe)
    if evidence.note is not None:
        notes.append(evidence.note)
    return Reference(path, feeds, answers, evidence, repeats, tuple(notes))


def give_back_memory() -> None:
    """Free what nothing refers to, and return the free pages to the operating system.

    Models are knots of objects that refer to each other: only the garbage collector frees them,
    some time later, and the C library then keeps the pages. Both are right for speed, and wrong
    before another process needs the memory of a small machine. The second step needs glibc.
    """
    gc.collect()
    if sys.platform == "linux" and (trim := getattr(ctypes.CDLL(None), "malloc_trim", None)):
        trim(0)
