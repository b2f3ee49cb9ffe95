"""pyproject.toml, environment.yml, the lock and the installed packages say the same.

Each check takes texts and returns its findings, so that a planted fault shows that it can fail.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Callable, Mapping
from importlib.metadata import distributions
from itertools import product
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

ROOT = Path(__file__).resolve().parents[1]
PYPROJECT = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
ENVIRONMENT = (ROOT / "environment.yml").read_text(encoding="utf-8")
LOCK = (ROOT / "requirements.txt").read_text(encoding="utf-8")

MACHINES = [
    {"sys_platform": system, "platform_machine": machine, "os_name": "posix"}
    for system, machine in [("linux", "x86_64"), ("linux", "aarch64"), ("darwin", "arm64")]
]
PYTHONS = ["3.11.9", "3.12.9", "3.13.9"]
TARGETS = [
    machine | {"python_version": python[:4], "python_full_version": python}
    for machine, python in product(MACHINES, PYTHONS)
]


def direct_requirements(pyproject: str, extras: bool = False) -> list[Requirement]:
    """List what pyproject.toml asks for, with the test tools on request."""
    project = tomllib.loads(pyproject)["project"]
    lines = list(project["dependencies"])
    if extras:
        lines += [line for extra in project["optional-dependencies"].values() for line in extra]
    return [Requirement(line) for line in lines]


def pip_lines(environment: str) -> list[str]:
    """List what environment.yml hands to pip."""
    (section,) = [
        entry for entry in yaml.safe_load(environment)["dependencies"] if isinstance(entry, dict)
    ]
    return section["pip"]


def locked_requirements(lock: str) -> list[Requirement]:
    """List the packages of the lock."""
    return [Requirement(line) for line in lock.splitlines() if line[:1] not in ("", " ", "#")]


def applies(requirement: Requirement, target: Mapping[str, str] | None = None) -> bool:
    """Say whether a requirement counts on a machine, this one by default."""
    return requirement.marker is None or requirement.marker.evaluate(target)


def check_names(pyproject: str, environment: str) -> list[str]:
    """The two lists name the same packages for the same machines; the lock gives the versions."""
    lines = pip_lines(environment)
    options = [line for line in lines if line.startswith("-")]
    findings = []
    if options != ["-c requirements.txt", "-e ."]:
        findings.append(f"environment.yml gives pip the options {options}")
    named = [Requirement(line) for line in lines if line not in options]
    findings += [f"environment.yml: {r.name} has a version" for r in named if r.specifier]
    wanted = {(r.name, str(r.marker)) for r in direct_requirements(pyproject)}
    found = {(r.name, str(r.marker)) for r in named}
    return findings + [f"named in one list alone: {pair}" for pair in sorted(wanted ^ found)]


def check_python(pyproject: str, environment: str) -> list[str]:
    """The Python of environment.yml is one that pyproject.toml supports."""
    supported = Requirement(f"python{tomllib.loads(pyproject)['project']['requires-python']}")
    pins = [
        entry.split("=")[1]
        for entry in yaml.safe_load(environment)["dependencies"]
        if isinstance(entry, str) and entry.startswith("python=")
    ]
    if len(pins) == 1 and supported.specifier.contains(pins[0]):
        return []
    return [f"environment.yml pins Python {pins}, supported: {supported.specifier}"]


def check_lock(pyproject: str, lock: str) -> list[str]:
    """On every supported machine the lock has one version of each direct package, one it allows."""
    entries = locked_requirements(lock)
    findings = [
        f"no exact version: {r}" for r in entries if not re.match(r"==[^*,]+$", str(r.specifier))
    ]
    for wanted, target in product(direct_requirements(pyproject, extras=True), TARGETS):
        if not applies(wanted, target):
            continue
        versions = [
            next(iter(entry.specifier)).version
            for entry in entries
            if canonicalize_name(entry.name) == canonicalize_name(wanted.name)
            and applies(entry, target)
        ]
        if len(versions) != 1 or not wanted.specifier.contains(versions[0], prereleases=True):
            findings.append(f"{wanted} on {target}: the lock has {versions}")
    return findings


def check_origin(pyproject: str, lock: str) -> list[str]:
    """The packages that the lock holds for this project's own sake are the direct ones."""
    project = tomllib.loads(pyproject)["project"]["name"]
    asked_for = {
        re.split(r"[=\s]", entry, maxsplit=1)[0]
        for entry in re.split(r"\n(?=\w)", lock)
        if f"{project} (pyproject.toml)" in entry
    }
    direct = {canonicalize_name(r.name) for r in direct_requirements(pyproject, extras=True)}
    return [f"direct in one file alone: {name}" for name in sorted(asked_for ^ direct)]


def check_installed(lock: str, installed: Mapping[str, str]) -> list[str]:
    """What is installed here is what the lock says for this machine."""
    return [
        f"{locked}: installed is {installed.get(canonicalize_name(locked.name))}"
        for locked in locked_requirements(lock)
        if applies(locked)
        and not locked.specifier.contains(
            installed.get(canonicalize_name(locked.name), Version("0")), prereleases=True
        )
    ]


def check_addresses(text: str) -> list[str]:
    """No package index is named: the client of the reader knows where packages come from."""
    pattern = r"\S*://\S*|--(?:index|extra-index|find)\S*|\b[\w-]+\.(?:org|com|io|net|dev)\b"
    return [f"address: {found}" for found in re.findall(pattern, text)]


def installed_versions() -> dict[str, str]:
    """Map the installed distributions to their versions."""
    return {canonicalize_name(found.name): found.version for found in distributions()}


def test_environment_and_pyproject_name_the_same_packages() -> None:
    assert check_names(PYPROJECT, ENVIRONMENT) == []


def test_environment_has_a_supported_python() -> None:
    assert check_python(PYPROJECT, ENVIRONMENT) == []


def test_the_lock_serves_every_direct_package_on_every_machine() -> None:
    assert check_lock(PYPROJECT, LOCK) == []


def test_the_lock_was_compiled_from_this_list() -> None:
    assert "make lock" in LOCK.splitlines()[1]
    assert check_origin(PYPROJECT, LOCK) == []


def test_the_tests_run_with_the_versions_of_the_lock() -> None:
    assert check_installed(LOCK, installed_versions()) == []


@pytest.mark.parametrize("text", [LOCK, ENVIRONMENT, PYPROJECT], ids=["lock", "conda", "pyproject"])
def test_no_package_index_is_named(text: str) -> None:
    assert check_addresses(text) == []


def changed(text: str, old: str, new: str) -> str:
    """Plant a fault, and make sure that it is there."""
    assert old in text
    return text.replace(old, new)


FAULTS: dict[str, Callable[[], list[str]]] = {
    "package left out of environment.yml": lambda: check_names(
        PYPROJECT, changed(ENVIRONMENT, "      - nbval\n", "")
    ),
    "test tool in environment.yml": lambda: check_names(
        PYPROJECT, changed(ENVIRONMENT, "- nbval", "- nbval\n      - pytest")
    ),
    "marker differs": lambda: check_names(
        PYPROJECT, changed(ENVIRONMENT, "!= 'x86_64'", "!= 'arm64'")
    ),
    "version in environment.yml": lambda: check_names(
        PYPROJECT, changed(ENVIRONMENT, "- keras\n", "- keras==3.0.0\n")
    ),
    "lock not used by environment.yml": lambda: check_names(
        PYPROJECT, changed(ENVIRONMENT, "      - -c requirements.txt\n", "")
    ),
    "helpers not installed": lambda: check_names(
        PYPROJECT, changed(ENVIRONMENT, "- -e .", "- -e ..")
    ),
    "Python too new": lambda: check_python(
        PYPROJECT, changed(ENVIRONMENT, "python=3.11", "python=3.14")
    ),
    "Python not stated": lambda: check_python(
        PYPROJECT, changed(ENVIRONMENT, "python=3.11", "python")
    ),
    "package missing in the lock": lambda: check_lock(
        PYPROJECT, re.sub(r"(?m)^nbval==.*\n", "", LOCK)
    ),
    "lock older than pyproject.toml": lambda: check_lock(
        changed(PYPROJECT, "keras==3.15.1", "keras==3.16.0"), LOCK
    ),
    "lock without a machine": lambda: check_lock(
        PYPROJECT, re.sub(r"(?m)^tensorflow==.*\n", "", LOCK)
    ),
    "lock without an exact version": lambda: check_lock(
        PYPROJECT, re.sub(r"(?m)^six==.*", "six>=1", LOCK)
    ),
    "test tool missing in the lock": lambda: check_lock(
        PYPROJECT, re.sub(r"(?m)^ruff==.*\n", "", LOCK)
    ),
    "package dropped from pyproject.toml": lambda: check_origin(
        changed(PYPROJECT, '    "h5py>=3.14",\n', ""), LOCK
    ),
    "package added to pyproject.toml": lambda: check_origin(
        changed(PYPROJECT, '"h5py>=3.14"', '"h5py>=3.14", "six"'), LOCK
    ),
    "other version installed": lambda: check_installed(
        LOCK, installed_versions() | {"keras": "3.0.0"}
    ),
    "package not installed": lambda: check_installed(
        LOCK, {name: v for name, v in installed_versions().items() if name != "onnx"}
    ),
    "index in the lock": lambda: check_addresses("--index-url https://example.org/simple\n" + LOCK),
    "host in the lock": lambda: check_addresses("# from packages.example.org\n" + LOCK),
}


@pytest.mark.parametrize("fault", FAULTS.values(), ids=FAULTS.keys())
def test_a_planted_fault_is_found(fault: Callable[[], list[str]]) -> None:
    assert len(fault()) > 0
