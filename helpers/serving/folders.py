"""Folders as TensorFlow Serving lays them out: ``NAME/VERSION/`` with a SavedModel inside."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

from helpers.costs.clients import ServingError

Fingerprint = tuple[tuple[str, int, int], ...]


def version_folders(folder: Path) -> dict[int, Path]:
    """Return the subfolders of a model's folder whose names are numbers, highest first.

    A link that leads nowhere counts: it was meant as a version, and its error is to be seen.
    """
    found = {
        int(entry.name): entry
        for entry in folder.glob("[0-9]*")
        if entry.name.isascii()
        and entry.name.isdecimal()
        and (entry.is_dir() or entry.is_symlink())
    }
    return dict(sorted(found.items(), reverse=True))


def fingerprint(folder: Path) -> Fingerprint:
    """Tell whether a folder has changed: names, sizes and times of its files."""
    files = []
    for parent, _, names in os.walk(folder):
        for name in names:
            path = Path(parent, name)
            with suppress(OSError):  # removed since it was listed, or a link to itself
                found = path.stat()
                files.append((str(path), found.st_size, found.st_mtime_ns))
    return tuple(sorted(files))


def find_models(folder: str | Path) -> dict[str, Path]:
    """Return the folder of each model by name.

    Raises:
        ServingError: there is no folder, no model in it, a model without a numbered version, or
            with a name that no address can hold.
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
    for name, path in found.items():
        if name.encode(errors="replace").decode() != name:  # bytes that are no text
            raise ServingError(f"{str(path)!r}: no address can hold this name. Rename the folder.")
        if not version_folders(path):
            held = ", ".join(sorted(each.name for each in path.iterdir())) or "nothing"
            raise ServingError(
                f"{path}: expected a subfolder for each version, named by a number, such as "
                f"{path / '1'}; it holds: {held}. Export the model into {path / '1'}."
            )
    return found
