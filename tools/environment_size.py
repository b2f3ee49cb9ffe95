"""How much disk the environment takes, by package: a part of ``make numbers``."""

from __future__ import annotations

import os
import sys
from importlib.metadata import distributions
from pathlib import Path

from helpers.costs.install import install_footprint

PROJECT = "keras-deployment-notebooks"
SHOWN = 15
MB_PER_MIB = 2**20 / 1e6


def package_megabytes(*names: str) -> dict[str, float]:
    """Measure packages and what they require: MB (1e6 bytes) by name, the largest first."""
    found = install_footprint(*names).distributions
    return {each.name: each.size_mib * MB_PER_MIB for each in found}


def disk_megabytes(folder: Path) -> float:
    """Add up the disk blocks of a folder and all that is in it, as ``du`` does: each file once."""
    blocks = {}
    for parent, _, files in os.walk(folder):
        for path in [Path(parent), *(Path(parent) / name for name in files)]:
            status = path.lstat()
            blocks[status.st_dev, status.st_ino] = status.st_blocks
    return 512 * sum(blocks.values()) / 1e6


def report(shown: int = SHOWN) -> str:
    """Write the table of this environment: the largest packages, the rest, and all of it.

    The packages of the lessons are those that environment.yml installs, on Binder too. The others
    are the test tools and pip.
    """
    lessons = package_megabytes(PROJECT)
    everything = package_megabytes(*{each.metadata["Name"] for each in distributions()})
    others = everything.keys() - lessons.keys()
    rows = [
        (megabytes, "others" if name in others else "lessons", name)
        for name, megabytes in list(everything.items())[:shown]
    ]
    rest = list(everything.values())[shown:]
    rows += [
        (sum(rest), "", f"{len(rest)} smaller packages"),
        (sum(lessons.values()), "lessons", f"all {len(lessons)} packages, as on Binder"),
        (sum(everything[name] for name in others), "others", f"all {len(others)}: test tools, pip"),
        (sum(everything.values()), "", f"all {len(everything)} packages"),
        (disk_megabytes(Path(sys.prefix)), "", f"{Path(sys.prefix).name} on disk, in whole blocks"),
    ]
    table = [f"  {megabytes:7,.0f} {use:>7}  {name}" for megabytes, use, name in rows]
    return "\n".join(["Environment:", f"  {'MB':>7} {'for':>7}  package", *table])
