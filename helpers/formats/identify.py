"""What a file is, told by its content: the suffix is only a hint that anyone can mistype."""

from __future__ import annotations

import zipfile
from pathlib import Path
from typing import Literal

ArtifactKind = Literal["keras", "h5", "saved_model", "onnx"]

KERAS_MEMBERS = frozenset({"metadata.json", "config.json", "model.weights.h5"})
HDF5_MAGIC = b"\x89HDF\r\n\x1a\n"

# The first bytes of files that people hand over by mistake: (start, what it is, what to do).
FOREIGN_FILES: tuple[tuple[bytes, str, str], ...] = (
    (
        b"version https://git-lfs",
        "it is a Git LFS pointer, not the file itself",
        "Fetch the content with `git lfs pull`.",
    ),
    (
        b"\x80",
        "it looks like a Python pickle, which runs code when it is loaded",
        "Ask for the model as .keras, SavedModel or ONNX.",
    ),
    (
        b"PAR1",
        "it is a Parquet table, not a model",
        "Give the path of a model file.",
    ),
    (
        b"\x1f\x8b",
        "it is a gzip archive",
        "Unpack it first and give the path of what is inside.",
    ),
    (
        b"<",
        "it is text that looks like a web page or XML, perhaps a failed download",
        "Download the file again and check its size.",
    ),
    (
        b"{",
        "it is JSON text, which can hold an architecture but no weights",
        "Give the path of a whole model: .keras, .h5, a SavedModel folder or .onnx.",
    ),
)


class ArtifactError(ValueError):
    """A model file that cannot be opened: which file, what was found, what to do.

    Attributes:
        path: the file or folder.
        finding: what is wrong with it, without a full stop.
        remedy: what the reader can do, as whole sentences.
    """

    def __init__(self, path: str | Path, finding: str, remedy: str) -> None:
        self.path = Path(path)
        self.finding = finding
        self.remedy = remedy
        super().__init__(f"{self.path}: {finding}. {remedy}")


def identify(path: str | Path) -> ArtifactKind:
    """Tell which kind of model artifact `path` is, from its content.

    Only the first bytes, a zip's list of members or a folder's list of files are read; nothing is
    loaded or executed, and no framework is imported.

    Raises:
        ArtifactError: nothing is there, the file is empty, or it is no artifact of these kinds.
    """
    path = Path(path)
    if not path.exists():
        raise ArtifactError(path, "there is no such file or folder", _remedy_for_missing(path))
    if path.is_dir():
        return _identify_folder(path)
    with path.open("rb") as file:
        start = file.read(64)
    if not start:
        raise ArtifactError(path, "the file is empty", "Save or copy the model again.")
    if start.startswith(HDF5_MAGIC):
        return "h5"
    if start.startswith(b"PK"):
        return _identify_zip(path)
    return _identify_bytes(path, start)


def _remedy_for_missing(path: Path) -> str:
    folder = path.parent
    if not folder.is_dir():
        return f"The folder {folder} does not exist either. Check the path."
    names = sorted(entry.name for entry in folder.iterdir())
    listing = ", ".join(names[:8]) + (", ..." if len(names) > 8 else "")
    return f"The folder {folder} holds: {listing or 'nothing'}."


def _identify_folder(path: Path) -> ArtifactKind:
    if (path / "saved_model.pb").is_file():
        if not (path / "variables").is_dir():
            raise ArtifactError(
                path,
                "the folder has saved_model.pb but no variables/ folder beside it",
                "A SavedModel is the whole folder. Copy or export all of it again.",
            )
        return "saved_model"
    found = (entry.parent.name for entry in path.glob("*/saved_model.pb"))
    versions = sorted(found, key=lambda name: (len(name), name))  # version 10 comes after 9
    if versions:
        raise ArtifactError(
            path,
            f"it is a folder of model versions ({', '.join(versions)})",
            f"Give one version: {path / versions[-1]}",
        )
    raise ArtifactError(
        path,
        "the folder holds no saved_model.pb, so it is not a SavedModel",
        "Export one with `model.export(folder)`, or give the path of a model file.",
    )


def _identify_zip(path: Path) -> ArtifactKind:
    try:
        with zipfile.ZipFile(path) as archive:
            members = set(archive.namelist())
    except zipfile.BadZipFile as error:
        raise ArtifactError(
            path,
            "it starts like a .keras file (a zip archive) but its table of contents is missing, "
            "so it was probably cut off",
            "Save or copy the model again, and compare the sizes.",
        ) from error
    if members >= KERAS_MEMBERS:
        return "keras"
    if any(member.endswith("data.pkl") for member in members):
        finding = "it is a zip archive that looks like a PyTorch file"
    else:
        missing = ", ".join(sorted(KERAS_MEMBERS - members))
        finding = f"it is a zip archive but no .keras file: it has no {missing}"
    raise ArtifactError(path, finding, "Save the model with `model.save('model.keras')`.")


def _identify_bytes(path: Path, start: bytes) -> ArtifactKind:
    for magic, finding, remedy in FOREIGN_FILES:
        if start.startswith(magic):
            raise ArtifactError(path, finding, remedy)
    if start[4:8] == b"TFL3":
        raise ArtifactError(
            path,
            "it is a TensorFlow Lite (LiteRT) model, which these helpers do not run",
            "Compare its source model instead: .keras, .h5, a SavedModel folder or .onnx.",
        )
    if path.name == "saved_model.pb" or start[:3] == b"\x08\x01\x12":
        raise ArtifactError(
            path,
            "it is the graph file of a SavedModel, without its variables",
            f"Give the whole folder: {path.parent}",
        )
    # An ONNX file is a protobuf message without a magic number. Its first field, written as tag
    # 0x08, is ir_version: 3 (2017) to 14 today. ONNX Runtime judges the rest.
    if start[0] == 0x08 and len(start) > 1 and 3 <= start[1] < 0x20:
        return "onnx"
    raise ArtifactError(
        path,
        f"the content is of no known kind (it starts with {start[:8]!r})",
        "Known are: .keras, .h5, a SavedModel folder and .onnx.",
    )
