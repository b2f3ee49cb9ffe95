"""What a runtime needs installed, in MiB on disk."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from importlib.metadata import (
    Distribution,
    PackageNotFoundError,
    distribution,
    packages_distributions,
)

import pandas as pd
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name


@dataclass(frozen=True)
class DistributionSize:
    """An installed package as pip knows it.

    Attributes:
        name: normalized, as in ``scikit-learn``.
        version: as installed.
        size_mib: of its files on disk; 1 MiB is 2**20 bytes.
    """

    name: str
    version: str
    size_mib: float


@dataclass(frozen=True, repr=False)
class InstallFootprint:
    """A runtime and everything that it requires.

    Attributes:
        runtime: what was asked for.
        distributions: the largest first.
        missing: required here, but not installed, so not counted.
    """

    runtime: str
    distributions: tuple[DistributionSize, ...]
    missing: tuple[str, ...] = ()

    @property
    def total_mib(self) -> float:
        """All distributions together, each counted once."""
        return sum(each.size_mib for each in self.distributions)

    def to_frame(self) -> pd.DataFrame:
        """Return one row for each distribution: ``name``, ``version``, ``size_mib``."""
        return pd.DataFrame(self.distributions, columns=["name", "version", "size_mib"])

    def __repr__(self) -> str:
        largest = ", ".join(f"{each.name} {each.size_mib:.0f}" for each in self.distributions[:4])
        text = (
            f"{self.runtime}: {self.total_mib:.0f} MiB in {len(self.distributions)} "
            f"distribution(s), the largest: {largest}"
        )
        return text + (f"; not installed: {', '.join(self.missing)}" if self.missing else "")


def install_footprint(*runtimes: str) -> InstallFootprint:
    """Measure what a runtime needs on disk: itself, and what it requires, however indirectly.

    Requirements are followed as their markers say for this machine and this Python, without
    optional extras. The files are those that the installer recorded, each measured on disk. What
    Python compiles later, on first import, is not among them. Python itself is not counted.

    Args:
        runtimes: names of distributions (``"onnxruntime"``) or of what they let you import
            (``"tensorflow"``, which a distribution named ``tensorflow-cpu`` may provide). What
            several need is counted once.

    Raises:
        ValueError: no name was given, or one is not installed.
    """
    if not runtimes:
        raise ValueError("runtimes: expected at least one name, such as 'onnxruntime', got none")
    found: dict[str, Distribution] = {}
    missing: set[str] = set()
    pending: list[tuple[str, frozenset[str]]] = [(_resolve(name), frozenset()) for name in runtimes]
    seen = set()
    while pending:
        request = pending.pop()
        if request in seen:
            continue
        seen.add(request)
        name, extras = request
        try:
            found[name] = distribution(name)
        except PackageNotFoundError:
            missing.add(name)
            continue
        pending.extend(_requirements(found[name], extras))
    sizes = [
        DistributionSize(name, each.version, _size_bytes(each) / 2**20)
        for name, each in found.items()
    ]
    sizes.sort(key=lambda each: (-each.size_mib, each.name))
    return InstallFootprint(" + ".join(runtimes), tuple(sizes), tuple(sorted(missing)))


def _resolve(name: str) -> str:
    """Return the normalized name of the distribution that `name` means."""
    try:
        return canonicalize_name(distribution(name).metadata["Name"])
    except PackageNotFoundError:
        providers = packages_distributions().get(name, [])
    if not providers:
        raise ValueError(
            f"runtimes: expected the name of an installed distribution, got {name!r}. "
            f"Install it, or look its name up with `pip list`."
        )
    return canonicalize_name(providers[0])


def _requirements(
    owner: Distribution, extras: frozenset[str]
) -> Iterator[tuple[str, frozenset[str]]]:
    for line in owner.requires or []:
        requirement = Requirement(line)
        marker = requirement.marker
        if marker is None or any(marker.evaluate({"extra": extra}) for extra in {"", *extras}):
            yield canonicalize_name(requirement.name), frozenset(requirement.extras)


def _size_bytes(owner: Distribution) -> int:
    paths = (owner.locate_file(file) for file in owner.files or [])
    return sum(path.stat().st_size for path in paths if path.is_file())
