"""What to measure: an artifact, and how to open and call it."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from helpers import formats
from helpers.formats import KerasMethod, Runtime
from helpers.formats.identify import ArtifactKind, identify
from helpers.formats.onnx import OnnxOptimization

LOADERS: Mapping[ArtifactKind, str] = {
    "keras": "load_keras",
    "h5": "load_keras",
    "saved_model": "load_saved_model",
    "onnx": "load_onnx",
}
FRAMEWORKS: Mapping[str, str] = {
    "load_keras": "keras",
    "load_saved_model": "tensorflow",
    "load_onnx": "onnxruntime",
}
OPTIONS: Mapping[str, tuple[str, ...]] = {
    "load_keras": ("method",),
    "load_saved_model": ("signature",),
    "load_onnx": ("allow_spinning", "optimization"),
}


@dataclass(frozen=True)
class Candidate:
    """An artifact and how it is opened; an option that is None keeps the loader's default.

    Attributes:
        path: of the artifact.
        method: how a Keras model is called; see `load_keras`.
        signature: of a SavedModel; see `load_saved_model`.
        allow_spinning: of ONNX Runtime's threads; see `load_onnx`.
        optimization: of the graph by ONNX Runtime; see `load_onnx`.
        threads: of this candidate, when it is not the number that all the others get.
        imports: modules to import first, such as the one that registers your custom layers.
    """

    path: str | Path
    method: KerasMethod | None = None
    signature: str | None = None
    allow_spinning: bool | None = None
    optimization: OnnxOptimization | None = None
    threads: int | None = None
    imports: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        """Refuse a number of threads that is none."""
        if self.threads is not None:
            check_threads(self.threads)

    def request(self, threads: int | None = None) -> dict[str, Any]:
        """Write down for the child what to open.

        Args:
            threads: unless the candidate has its own; None keeps the runtime's default.

        Raises:
            ArtifactError: nothing to open there; see `identify`.
            ValueError: an option that this kind of artifact does not have.
        """
        kind = identify(self.path)
        loader = LOADERS[kind]
        arguments: dict[str, Any] = {"path": str(Path(self.path).resolve())}
        for option in (option for options in OPTIONS.values() for option in options):
            value = getattr(self, option)
            if value is None:
                continue
            if option not in OPTIONS[loader]:
                raise ValueError(
                    f"{option}: {self.path} is of kind {kind}, which takes "
                    f"{', '.join(OPTIONS[loader])} instead. Leave {option} out."
                )
            arguments[option] = value
        threads = self.threads or threads
        if threads and loader == "load_onnx":
            arguments["intra_op_num_threads"] = threads
        return {
            "framework": FRAMEWORKS[loader],
            "loader": loader,
            "arguments": arguments,
            "threads": threads,
            "imports": list(self.imports),
            "path": sys.path,  # where this process finds the modules
        }


def open_candidate(candidate: Candidate) -> Runtime:
    """Open a candidate in this process, as a worker would.

    Raises:
        ArtifactError: see the loaders of `helpers.formats`.
        ValueError: an option that this kind of artifact does not have.
    """
    request = candidate.request()
    return getattr(formats, request["loader"])(**request["arguments"])


def as_candidate(value: Candidate | str | Path) -> Candidate:
    """Let a plain path stand for the artifact opened with the loader's defaults."""
    return value if isinstance(value, Candidate) else Candidate(value)


def check_threads(threads: int) -> None:
    """Raise ValueError unless `threads` is a whole number above 0."""
    if isinstance(threads, bool) or not isinstance(threads, int) or threads < 1:
        raise ValueError(f"threads: expected a whole number from 1 on, got {threads!r}")
