"""What the helpers know of one kind of artifact, and what they tell of one."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from helpers.formats.runtime import Runtime

if TYPE_CHECKING:
    import pandas as pd

TWICE = 1.9
"""From this multiple of the parameters on, the stored weights count as stored twice.

A little below 2, because a second copy may leave out the small tensors that are not trained.
"""

INCOMPLETE = 0.9
"""Below this share of the source's parameters, something was left out or made smaller.

Converters fold batch normalization into convolutions. That saves 2% of MobileNetV2; int8 saves
about 75%.
"""


class StoredFile(NamedTuple):
    """A file of an artifact, or a member of a ``.keras`` archive with the bytes it takes there."""

    name: str
    size_bytes: int


@dataclass(frozen=True, repr=False)
class ArtifactSize:
    """What an artifact weighs, and what the weight consists of.

    Attributes:
        path: the file or folder.
        kind: what `identify` says it is.
        total_bytes: on disk.
        parameter_bytes: of the model's parameters, each counted once.
        weight_bytes: of the same parameters as they are stored, copies included.
        optimizer_bytes: of the state that only training needs.
        files: what the artifact consists of: files, or the members of a ``.keras`` archive.
        flags: what deserves a second look, as whole sentences.
    """

    path: Path
    kind: str
    total_bytes: int
    parameter_bytes: int
    weight_bytes: int
    optimizer_bytes: int
    files: tuple[StoredFile, ...]
    flags: tuple[str, ...] = ()

    def to_frame(self) -> pd.DataFrame:
        """Return one row for each file: ``name``, ``size_bytes``."""
        import pandas as pd

        return pd.DataFrame(self.files, columns=["name", "size_bytes"])

    def __repr__(self) -> str:
        head = (
            f"{self.path.name}: {_readable(self.total_bytes)} on disk, "
            f"{_readable(self.parameter_bytes)} of parameters"
        )
        return "\n".join([head, *(f"  {flag}" for flag in self.flags)])

    def compared_with(self, source_bytes: int | None) -> ArtifactSize:
        """Add the flags that the numbers raise, beside each other and beside the source's."""
        return replace(self, flags=(*self.flags, *self._raised(source_bytes)))

    def _raised(self, source_bytes: int | None) -> Iterator[str]:
        parameters = self.parameter_bytes
        once = min(parameters, source_bytes or parameters)
        if self.weight_bytes > 0 and self.weight_bytes >= TWICE * once:
            yield (
                f"Weights stored twice: {_readable(self.weight_bytes)} of weights for "
                f"{_readable(once)} of parameters."
            )
        if self.total_bytes < parameters:
            yield (
                f"Smaller than its parameters: {_readable(self.total_bytes)} on disk for "
                f"{_readable(parameters)}. A part is missing or compressed."
            )
        if source_bytes is not None and parameters < INCOMPLETE * source_bytes:
            yield (
                f"Too small for its source: {_readable(parameters)} of parameters instead of "
                f"{_readable(source_bytes)}. Right after quantization; else weights are missing."
            )
        if self.optimizer_bytes:
            yield (
                f"Optimizer state inside: {_readable(self.optimizer_bytes)} that only training "
                "needs."
            )


def _readable(count: int) -> str:
    """Write a number of bytes as KiB (2**10) or MiB (2**20)."""
    return f"{count / 2**10:.1f} KiB" if count < 2**20 else f"{count / 2**20:.1f} MiB"


@dataclass(frozen=True)
class Traits:
    """Answers to three questions that decide between strategies.

    Attributes:
        needs_tensorflow: whether TensorFlow must be installed where it runs.
        needs_your_code: whether classes or functions of yours must be imported there.
        resumes_training: whether training goes on with the optimizer's state after loading.
    """

    needs_tensorflow: bool
    needs_your_code: bool
    resumes_training: bool


class Look(NamedTuple):
    """What is seen of a path without opening it as a model.

    Attributes:
        path: an existing file or folder.
        start: the first 64 bytes of a file; none of a folder.
        members: the names in a zip archive; None for what is none, or has lost its list of them.
    """

    path: Path
    start: bytes = b""
    members: frozenset[str] | None = None


Refusal = tuple[str, str]
"""Why a path is no artifact, or a damaged one: finding and remedy, as `ArtifactError` has them."""


@dataclass(frozen=True)
class Format:
    """All that the helpers know of one kind of artifact; nothing is imported before it is needed.

    Attributes:
        kind: its name, by which `FORMATS` holds it.
        title: what an artifact of it is, for a sentence, such as "an ONNX file".
        short: the same for a list of kinds, such as ".onnx".
        framework: the module to import before `load`.
        recognizes: tells whether a path is of this kind; what is nearly so gets its refusal.
        load: opens a path.
        options: the keyword arguments of `load` that a caller may choose.
        limit_threads: holds the runtime to a number of threads. To be called in the process that
            will load, after the import of the framework; returns more arguments for `load`.
        contents: weighs the files and the tensors in them, without loading the model.
        traits: reads the traits of a path. A second argument, what `contents` said of it, spares
            reading that again.

    `load`, `contents` and `traits` raise `ArtifactError`, and nothing else over a damaged file.
    """

    kind: str
    title: str
    short: str
    framework: str
    recognizes: Callable[[Look], bool | Refusal]
    load: Callable[..., Runtime]
    options: tuple[str, ...]
    limit_threads: Callable[[int], dict[str, Any]]
    contents: Callable[[Path], ArtifactSize]
    traits: Callable[..., Traits]


FORMATS: dict[str, Format] = {}
"""Every kind by its name; the package `helpers.formats` fills it."""
