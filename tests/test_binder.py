"""Binder and conda build the environment that the tests ran with.

repo2docker is what Binder runs. It prints its plan without a Docker engine, and what the plan
hands to pip is put before pip here.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[1]


def copy_repository(target: Path) -> Path:
    """Copy what a clone of this repository would hold."""
    listing = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT, capture_output=True, text=True, check=False,
    ) if shutil.which("git") else None  # fmt: skip
    if listing is None or listing.returncode:
        ignored = (ROOT / ".gitignore").read_text(encoding="utf-8").replace("/", "").split()
        return shutil.copytree(ROOT, target, ignore=shutil.ignore_patterns(".git", *ignored))
    for name in filter(None, listing.stdout.split("\0")):
        if (ROOT / name).is_file():
            (target / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, target / name)
    return target


def binder_findings(repository: Path) -> list[str]:
    """Compare the plan of repo2docker with what this repository wants."""
    run = subprocess.run(
        [sys.executable, "-m", "repo2docker", "--no-build", "--debug", "."],
        cwd=repository, capture_output=True, text=True, check=False,
    )  # fmt: skip
    plan = run.stdout + run.stderr
    if run.returncode:
        return [f"repo2docker stops: {plan}"]
    findings = []
    if "Building conda environment for python=3.11\n" not in plan:
        findings.append("the build pack is not conda with Python 3.11")
    if "ARG REPO_DIR=${HOME}\n" not in plan:
        findings.append("the repository is not the home folder, where pip looks for its settings")
    if "requirements.txt" in plan:
        findings.append("requirements.txt is installed in a second step")
    staged = re.search(r"^COPY .* src/ \$\{REPO_DIR\}/$", plan, flags=re.MULTILINE)
    solved = re.search(r"env update .*--file \"environment\.yml\"", plan)
    if not (staged and solved):
        findings.append("environment.yml is not used")
    elif staged.start() > solved.start():
        findings.append("the environment is built before the repository is there")
    return findings


def pip_plan(repository: Path) -> subprocess.CompletedProcess[str]:
    """Hand the pip part of environment.yml to pip, as conda does: from a file beside it."""
    lines = yaml.safe_load((repository / "environment.yml").read_text())["dependencies"][-1]["pip"]
    (repository / "from_conda.txt").write_text("\n".join(lines))
    command = [sys.executable, "-m", "pip", "install", "--dry-run", "--no-index"]
    return subprocess.run(
        [*command, "--no-build-isolation", "-r", "from_conda.txt"],
        cwd=repository, capture_output=True, text=True, check=False,
    )  # fmt: skip


def keeps_downloads(home: Path) -> bool:
    """Ask pip, in a home folder and with no other settings, whether it has a cache."""
    run = subprocess.run(
        [sys.executable, "-m", "pip", "cache", "dir"],
        env={"HOME": str(home), "PATH": os.defpath}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert run.returncode == 0 or "cache is disabled" in run.stderr, run.stderr
    return run.returncode == 0


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    return copy_repository(tmp_path / "clone")


def edit(name: str, pattern: str, replacement: str) -> Callable[[Path], None]:
    """Make a fault: a text that is replaced in one file."""

    def plant(repository: Path) -> None:
        before = (repository / name).read_text()
        after = re.sub(pattern, replacement, before)
        assert after != before
        (repository / name).write_text(after)

    return plant


def add_binder_folder(repository: Path) -> None:
    (repository / "binder").mkdir()
    (repository / "binder" / "requirements.txt").write_text("keras\n")


def test_binder_uses_environment_yml_with_python_3_11(repository: Path) -> None:
    assert binder_findings(repository) == []


@pytest.mark.parametrize(
    ("plant", "finding"),
    [
        (edit("environment.yml", "python=3.11", "python=3.12"), "not conda with Python 3.11"),
        (edit("environment.yml", "python=3.11", "python"), "not conda with Python 3.11"),
        (edit("environment.yml", "(?m)^ +- -[ce] .*\n", ""), "before the repository is there"),
        (edit("environment.yml", "(?m)^dependencies:", "- dependencies:"), "repo2docker stops"),
        (lambda repository: (repository / "environment.yml").unlink(), "is not used"),
        (add_binder_folder, "is not used"),
    ],
    ids=["other Python", "no Python", "no local file", "not YAML", "no environment", "second one"],
)
def test_a_fault_in_the_plan_is_found(
    repository: Path, plant: Callable[[Path], None], finding: str
) -> None:
    plant(repository)
    assert any(finding in found for found in binder_findings(repository))


def test_pip_finds_everything_installed_at_the_versions_of_the_lock(repository: Path) -> None:
    plan = pip_plan(repository)
    assert plan.returncode == 0, plan.stderr
    assert plan.stdout.splitlines()[-1] == "Would install keras-deployment-notebooks-0.1.0"


@pytest.mark.parametrize(
    "plant",
    [
        edit("requirements.txt", r"(?m)^keras==.*", "keras==3.0.0"),
        edit("environment.yml", "- keras\n", "- keras-of-another-kind\n"),
        edit("environment.yml", "-c requirements.txt", "-c constraints.txt"),
    ],
    ids=["other version in the lock", "package that is not installed", "no such lock"],
)
def test_pip_refuses_a_fault(repository: Path, plant: Callable[[Path], None]) -> None:
    plant(repository)
    assert pip_plan(repository).returncode != 0


def test_the_image_has_no_second_copy_of_the_packages(repository: Path) -> None:
    assert not keeps_downloads(repository)
    (repository / ".config" / "pip" / "pip.conf").unlink()
    assert keeps_downloads(repository)
