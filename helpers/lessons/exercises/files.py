"""What an answer wrote to disk."""

from __future__ import annotations

from collections.abc import Set
from pathlib import Path

from helpers.formats.identify import ArtifactError, ArtifactKind, identify
from helpers.lessons.exercises.feedback import NotYet

FORMAT_NAMES: dict[ArtifactKind, str] = {
    "keras": "the .keras format",
    "h5": "the .h5 format",
    "saved_model": "a SavedModel folder",
    "onnx": "an ONNX file",
}


def require_artifact(path: Path, kind: ArtifactKind, others: Set[str] = frozenset()) -> None:
    """Demand that an answer wrote an artifact of one kind.

    Args:
        path: where the answer was told to write, in a folder of the check's own.
        kind: what must be there, told by its content.
        others: names in the same folder that the check itself put there.

    Raises:
        NotYet: nothing is there, it is of another kind, or it is no model.
    """
    if not path.exists():
        names = sorted({each.name for each in path.parent.iterdir()} - others)
        found = f" It wrote {', '.join(names)} beside it." if names else ""
        raise NotYet(f"there is nothing at the path that the function was given.{found}")
    try:
        found_kind = identify(path)
    except ArtifactError as error:
        raise NotYet(f"what was written cannot be used: {error.finding}.") from error
    if found_kind != kind:
        raise NotYet(f"the format is {found_kind}. This exercise asks for {FORMAT_NAMES[kind]}.")
