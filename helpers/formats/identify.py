"""What a file is, told by its content: the suffix is only a hint that anyone can mistype."""

from __future__ import annotations

import re
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from helpers.formats.format import FORMATS, Look, Refusal

ArtifactKind = str
"""A key of `FORMATS`: "keras", "h5", "saved_model" or "onnx"."""

# What people hand over by mistake: how it starts, what it is, what to do.
FOREIGN_FILES: tuple[tuple[bytes, str, str], ...] = (
    (
        rb"version https://git-lfs",
        "it is a Git LFS pointer, not the file itself",
        "Fetch the content with `git lfs pull`.",
    ),
    (
        rb"\x80",
        "it looks like a Python pickle, which runs code when it is loaded",
        "Ask for the model as .keras, SavedModel or ONNX.",
    ),
    (rb"PAR1", "it is a Parquet table, not a model", "Give the path of a model file."),
    (rb"\x1f\x8b", "it is a gzip archive", "Unpack it first and give the path of what is inside."),
    (
        rb"<\?xml[^>]*>\s*<net ",
        "it is an OpenVINO model (IR), which these helpers do not run",
        "Compare the model that it was made from: {kinds}.",
    ),
    (
        rb"....ORTM",
        "it is a model in ONNX Runtime's own format (.ort), which these helpers do not run",
        "Compare the .onnx file that it was made from.",
    ),
    (
        rb"<",
        "it is text that looks like a web page or XML, perhaps a failed download",
        "Download the file again and check its size.",
    ),
    (
        rb"\{",
        "it is JSON text, which can hold an architecture but no weights",
        "Give the path of a whole model: {kinds}.",
    ),
    (
        rb"....TFL3",
        "it is a TensorFlow Lite (LiteRT) model, which these helpers do not run",
        "Compare its source model instead: {kinds}.",
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


@contextmanager
def refusing(path: Path, explain: Callable[[Exception], Refusal]) -> Iterator[None]:
    """Turn whatever is raised over a damaged file in a ``with`` block into an `ArtifactError`.

    The libraries that read model files promise no types: one wrong byte gives a KeyError here, an
    AttributeError there. So all of them are caught, and `explain` gives finding and remedy.
    """
    try:
        yield
    except ArtifactError:
        raise
    except Exception as error:
        raise ArtifactError(path, *explain(error)) from error


def unreadable(part: str, remedy: str) -> Callable[[Exception], Refusal]:
    """Explain for `refusing` that a part, such as "its weights", cannot be read."""
    return lambda error: (f"{part} cannot be read ({in_words(error)})", remedy)


def in_words(error: Exception) -> str:
    """Return an error's message in one line, with its type where it is no sentence."""
    words = " ".join(str(error).split())
    return words if " " in words else f"{type(error).__name__}: {words}".removesuffix(": ")


def identify(path: str | Path) -> ArtifactKind:
    """Tell which kind of model artifact `path` is, from its content.

    Only the first bytes, a zip's list of members or a folder's list of files are read; nothing is
    loaded or executed, and no framework is imported.

    Raises:
        ArtifactError: nothing is there, the file is empty, it is a pipe or a device, it cannot be
            read, or it is no artifact of these kinds.
    """
    path = Path(path)
    with refusing(path, unreadable("it", "Check the path, and who may read it.")):
        look = _look_at(path)
        verdicts = {kind: known.recognizes(look) for kind, known in FORMATS.items()}
    for kind, verdict in verdicts.items():
        if verdict is True:
            return kind
    raise ArtifactError(path, *_explain(look, filter(None, verdicts.values())))


def identify_as(path: Path, title: str, *kinds: ArtifactKind) -> ArtifactKind:
    """Identify what was given to the loader of these kinds.

    Raises:
        ArtifactError: see `identify`; or it is of another kind, so not `title`.
    """
    kind = identify(path)
    if kind not in kinds:
        raise ArtifactError(path, f"it is {kind}, not {title}", "Use open_artifact(path).")
    return kind


def _look_at(path: Path) -> Look:
    if not path.exists():
        raise ArtifactError(path, "there is no such file or folder", _remedy_for_missing(path))
    if path.is_dir():
        return Look(path)
    if not path.is_file():  # reading a pipe would wait for whoever writes to it
        remedy = "Give the path of a model file or folder."
        raise ArtifactError(path, "it is a pipe, a device or the like, no file", remedy)
    with path.open("rb") as file:
        start = file.read(64)
    if not start:
        raise ArtifactError(path, "the file is empty", "Save or copy the model again.")
    return Look(path, start, _zip_members(path) if start.startswith(b"PK") else None)


def _remedy_for_missing(path: Path) -> str:
    if re.match(r"(gs|s3|hf|https?):/", str(path)):
        return "It is an address. Download the file first, and give the path where it is."
    if str(path).startswith("~"):
        return f"Python does not replace ~. The path may be {path.expanduser()}."
    folder = path.parent
    if not folder.is_dir():
        return f"The folder {folder} does not exist either. Check the path."
    names = sorted(entry.name for entry in folder.iterdir())
    listing = ", ".join(names[:8]) + (", ..." if len(names) > 8 else "")
    return f"The folder {folder} holds: {listing or 'nothing'}."


def _zip_members(path: Path) -> frozenset[str] | None:
    try:
        with zipfile.ZipFile(path) as archive:
            return frozenset(archive.namelist())
    except Exception:  # BadZipFile, UnicodeDecodeError, NotImplementedError, ...
        return None


def _explain(look: Look, refusals: Iterator[Refusal]) -> Refusal:
    """Return finding and remedy for what is of no kind."""
    for pattern, finding, remedy in FOREIGN_FILES:
        if re.match(pattern, look.start, re.DOTALL):
            return finding, remedy.format(kinds=_list_kinds("or"))
    unknown = f"the content is of no known kind (it starts with {look.start[:8]!r})"
    return next(refusals, (unknown, f"Known are: {_list_kinds('and')}."))


def _list_kinds(conjunction: str) -> str:
    *names, last = [known.short for known in FORMATS.values()]
    return f"{', '.join(names)} {conjunction} {last}"
