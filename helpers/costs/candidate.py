"""What to measure: an artifact, and how to open and call it."""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from helpers.costs.messages import Open
from helpers.formats import FORMATS
from helpers.formats.identify import identify


@dataclass(frozen=True, init=False)
class Candidate:
    """An artifact and how it is opened.

    Attributes:
        path: of the artifact.
        threads: of this candidate, when it is not the number that all the others get.
        imports: modules to import first, such as the one that registers your custom layers.
        trust: you know where it comes from: see `load_keras` and `load_saved_model`.
        options: of the loader, given by name: ``method`` (`load_keras`), ``signature``
            (`load_saved_model`), ``allow_spinning`` and ``optimization`` (`load_onnx`). None keeps
            the loader's default.
    """

    path: str | Path
    threads: int | None = None
    imports: tuple[str, ...] = ()
    trust: bool = False
    options: dict[str, Any] = field(default_factory=dict)

    def __init__(
        self,
        path: str | Path,
        *,
        threads: int | None = None,
        imports: tuple[str, ...] = (),
        trust: bool = False,
        **options: Any,
    ) -> None:
        known = list(dict.fromkeys(name for each in FORMATS.values() for name in each.options))
        if unknown := [name for name in options if name not in known]:
            raise TypeError(f"expected options among {known}, got {unknown}")
        if threads is not None:
            check_threads(threads)
        given = {name: value for name, value in options.items() if value is not None}
        values = {"path": path, "threads": threads, "imports": tuple(imports), "trust": trust}
        for name, value in {**values, "options": given}.items():
            object.__setattr__(self, name, value)

    def request(self, threads: int | None = None, *, alone: bool = False) -> Open:
        """Write down for the worker what to open.

        Args:
            threads: unless the candidate has its own; None keeps the runtime's default.
            alone: import the framework without what it only takes along. Modules of the
                candidate's own may need that, so they switch it off.

        Raises:
            ArtifactError: nothing to open there; see `identify`.
            ValueError: an option that this kind of artifact does not have.
        """
        kind = identify(self.path)
        options = self.options
        if self.trust and "trust" in FORMATS[kind].options:  # an ONNX file has nothing to trust
            options = {**options, "trust": True}
        for name in options:
            if name not in FORMATS[kind].options:
                raise ValueError(
                    f"{name}: {self.path} is of kind {kind}, which takes "
                    f"{', '.join(FORMATS[kind].options)} instead. Leave {name} out."
                )
        return Open(
            kind,
            os.path.abspath(self.path),  # not resolved: weights may lie beside the link
            options,
            self.threads or threads,
            list(self.imports),
            sys.path,
            alone and not self.imports,
        )


def as_candidate(value: Candidate | str | Path) -> Candidate:
    """Let a plain path stand for the artifact opened with the loader's defaults."""
    return value if isinstance(value, Candidate) else Candidate(value)


def check_threads(threads: int) -> None:
    """Raise ValueError unless `threads` is a whole number above 0."""
    if isinstance(threads, bool) or not isinstance(threads, int) or threads < 1:
        raise ValueError(f"threads: expected a whole number from 1 on, got {threads!r}")
