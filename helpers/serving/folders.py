"""Folders as TensorFlow Serving lays them out: ``NAME/VERSION/`` with a SavedModel inside."""

from __future__ import annotations

from pathlib import Path

from helpers.serving.errors import ServingError


def version_folders(folder: Path) -> dict[int, Path]:
    """Return the subfolders of a model's folder whose names are numbers, highest first."""
    found = {
        int(entry.name): entry
        for entry in folder.glob("*")
        if entry.name.isdecimal() and entry.is_dir()
    }
    return dict(sorted(found.items(), reverse=True))


def find_models(folder: str | Path) -> dict[str, Path]:
    """Return the folder of each model by name.

    Raises:
        ServingError: there is no folder, no model in it, or a model without a numbered version.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise ServingError(f"{folder}: there is no such folder. Give one that holds NAME/VERSION/.")
    if version_folders(folder):
        raise ServingError(
            f"{folder}: it is the folder of one model. Give the folder above it: the name of the "
            "model is taken from there."
        )
    found = {
        entry.name: entry
        for entry in sorted(folder.iterdir())
        if entry.is_dir() and not entry.name.startswith(".")
    }
    if not found:
        raise ServingError(f"{folder}: it holds no model. Put one into {folder / 'NAME' / '1'}.")
    for path in found.values():
        if not version_folders(path):
            held = ", ".join(sorted(each.name for each in path.iterdir())) or "nothing"
            raise ServingError(
                f"{path}: expected a subfolder for each version, named by a number, such as "
                f"{path / '1'}; it holds: {held}. Export the model into {path / '1'}."
            )
    return found
