"""The size of an artifact on disk, against the parameters that it holds."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from helpers.formats.contents import Contents, StoredFile, read_contents
from helpers.formats.identify import ArtifactKind, identify

TWICE = 1.9
"""From this multiple of the parameters on, the stored weights count as stored twice.

A little below 2, because a second copy may leave out the small tensors that are not trained.
"""

INCOMPLETE = 0.9
"""Below this share of the source's parameters, something was left out or made smaller.

Converters fold batch normalization into convolutions. That saves 2% of MobileNetV2; int8 saves
about 75%.
"""


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
    kind: ArtifactKind
    total_bytes: int
    parameter_bytes: int
    weight_bytes: int
    optimizer_bytes: int
    files: tuple[StoredFile, ...]
    flags: tuple[str, ...]

    def to_frame(self) -> pd.DataFrame:
        """Return one row for each file: ``name``, ``size_bytes``."""
        return pd.DataFrame(self.files, columns=["name", "size_bytes"])

    def __repr__(self) -> str:
        head = (
            f"{self.path.name}: {_readable(self.total_bytes)} on disk, "
            f"{_readable(self.parameter_bytes)} of parameters"
        )
        return "\n".join([head, *(f"  {flag}" for flag in self.flags)])


def artifact_size(path: str | Path, parameter_bytes: int | None = None) -> ArtifactSize:
    """Weigh an artifact and the tensors inside it. The model is not loaded.

    Random-seed states (16 bytes for a dropout layer in a SavedModel) and the constants of an ONNX
    graph (a few bytes for each shape) count as parameters.

    Args:
        path: a ``.keras`` or ``.h5`` file, a SavedModel folder, or a ``.onnx`` file. The external
            data of an ONNX file is included.
        parameter_bytes: what the source model needs, such as ``4 * model.count_params()`` for
            float32. The artifact is then compared with it as well.

    Raises:
        ArtifactError: no artifact, or its tensors cannot be read.
        ValueError: `parameter_bytes` is not positive.
    """
    path = Path(path)
    if parameter_bytes is not None and parameter_bytes <= 0:
        raise ValueError(
            f"parameter_bytes: expected a positive number of bytes, got {parameter_bytes}. "
            "Leave it out to compare the artifact with itself only."
        )
    kind = identify(path)
    contents = read_contents(path, kind)
    return ArtifactSize(
        path,
        kind,
        contents.total_bytes,
        contents.parameter_bytes,
        contents.weight_bytes,
        contents.optimizer_bytes,
        contents.files,
        tuple(_flags(contents, parameter_bytes)),
    )


def _flags(contents: Contents, source_bytes: int | None) -> Iterator[str]:
    parameters = contents.parameter_bytes
    once = min(parameters, source_bytes or parameters)
    if contents.weight_bytes > 0 and contents.weight_bytes >= TWICE * once:
        yield (
            f"Weights stored twice: {_readable(contents.weight_bytes)} of weights for "
            f"{_readable(once)} of parameters."
        )
    if contents.total_bytes < parameters:
        yield (
            f"Smaller than its parameters: {_readable(contents.total_bytes)} on disk for "
            f"{_readable(parameters)}. A part is missing or compressed."
        )
    if source_bytes is not None and parameters < INCOMPLETE * source_bytes:
        yield (
            f"Too small for its source: {_readable(parameters)} of parameters instead of "
            f"{_readable(source_bytes)}. Right after quantization; else weights are missing."
        )
    if contents.optimizer_bytes:
        yield (
            f"Optimizer state inside: {_readable(contents.optimizer_bytes)} that only training "
            "needs."
        )


def _readable(count: int) -> str:
    """Write a number of bytes as KiB (2**10) or MiB (2**20)."""
    return f"{count / 2**10:.1f} KiB" if count < 2**20 else f"{count / 2**20:.1f} MiB"
