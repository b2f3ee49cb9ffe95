"""The Makefile picks a Python, sets up once, and says in one line what is missing.

``make -n`` prints the plan and runs nothing, so these tests install nothing. The Pythons they
offer to make are scripts that answer what a Python of that version would.
"""

from __future__ import annotations

import os
import re
import shutil
import stat
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
MAKEFILE = (ROOT / "Makefile").read_text(encoding="utf-8")
MAKE = shutil.which("make") or "make"
SET_UP = "pip install -r requirements.txt"


class Clone:
    """An empty clone in a folder with spaces, on a machine with nothing but fake Pythons."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "a clone with spaces"
        self.programs = folder / "bin"
        self.path.mkdir()
        self.programs.mkdir()
        locks = ["requirements.txt", "requirements-scale.txt", "tools/scale/deploy/schemas.txt"]
        for name in ["Makefile", "pyproject.toml", *locks]:
            (self.path / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, self.path / name)
        for name in ["awk", "bash", "cat", "dirname", "grep", "mkdir", "rm"]:
            (self.programs / name).symlink_to(shutil.which(name) or "missing")
        self.add_program("id", "echo 1000")

    def add_program(self, name: str, script: str) -> Path:
        """Put a shell script on the only PATH that make sees."""
        path = self.programs / name
        path.write_text(f"#!/bin/sh\n{script}\n")
        path.chmod(0o755)
        return path

    def add_python(self, name: str, version: str, pip_help: str = "--python <python>") -> None:
        """Put a Python there that can say its version, and can install nothing."""
        self.add_program(
            name,
            f"""case "$1 $2" in
                -c*) echo {version} ;;
                "-m venv") mkdir .venv ;;
                "-m pip") test "$3" = --help && echo "{pip_help}" ;;
            esac""",
        )

    def add_environment(self, version: str) -> None:
        """Leave what a finished installation leaves."""
        binaries = self.path / ".venv" / "bin"
        binaries.mkdir(parents=True)
        shutil.copy2(self.add_program("installed", f"echo {version}"), binaries / "python")
        (self.path / ".venv" / "ready").write_text(f"{self.path.resolve()}\n")

    def make(self, *arguments: str, program: str = MAKE) -> subprocess.CompletedProcess[str]:
        """Run make without what an outer make or shell has set."""
        environment = {"PATH": str(self.programs), "HOME": str(self.path), "LC_ALL": "C"}
        return subprocess.run(
            [program, *arguments], cwd=self.path, env=environment, stdin=subprocess.DEVNULL,
            capture_output=True, text=True, check=False,
        )  # fmt: skip

    def plan(self, *arguments: str) -> str:
        """List the commands that make would run."""
        result = self.make("-n", *arguments)
        assert result.returncode == 0, result.stderr
        return result.stdout

    def files(self) -> set[str]:
        """List what is in the folder."""
        return {path.name for path in self.path.iterdir()}


@pytest.fixture
def clone(tmp_path: Path) -> Clone:
    return Clone(tmp_path)


def test_make_alone_lists_every_target(clone: Clone) -> None:
    (targets,) = re.findall(r"^\.PHONY: (help .*)", MAKEFILE, flags=re.MULTILINE)
    listing = clone.make()
    assert listing.returncode == 0
    assert [line.split()[1] for line in listing.stdout.splitlines()] == targets.split()
    assert all(len(line.split()) > 3 for line in listing.stdout.splitlines())


@pytest.mark.parametrize("target", ["lab", "test", "notebooks", "lint", "lock", "format"])
@pytest.mark.parametrize(
    ("pythons", "arguments", "finding"),
    [
        ({"python3": "3.10"}, [], "python3 is Python 3.10"),
        ({"python3": "3.14"}, [], "python3 is Python 3.14"),
        ({}, [], "python3 is missing"),
        ({"python3": "3.12"}, ["PYTHON=python3.10"], "python3.10 is missing"),
        ({"python3": "3.12", "other": "3.9"}, ["PYTHON=other"], "other is Python 3.9"),
    ],
    ids=["old", "new", "none", "asked for a missing one", "asked for an old one"],
)
def test_an_unsupported_python_ends_with_one_line(
    clone: Clone, target: str, pythons: dict[str, str], arguments: list[str], finding: str
) -> None:
    for name, version in pythons.items():
        clone.add_python(name, version)
    before = clone.files()
    result = clone.make(target, *arguments)
    (line,) = result.stderr.splitlines()
    assert finding in line
    assert "Python 3.11, 3.12 or 3.13 is needed" in line
    assert "make test PYTHON=" in line
    assert result.returncode != 0
    assert result.stdout == ""
    assert clone.files() == before


@pytest.mark.parametrize("pip_help", ["", "--prefix <dir>"], ids=["no pip", "old pip"])
def test_a_python_without_a_usable_pip_ends_with_one_line(clone: Clone, pip_help: str) -> None:
    clone.add_python("python3", "3.11", pip_help=pip_help)
    before = clone.files()
    result = clone.make("test")
    (line,) = result.stderr.splitlines()
    assert "python3 has no pip, or one older than 22.3" in line
    assert result.returncode != 0
    assert clone.files() == before


@pytest.mark.parametrize("version", ["3.11", "3.12", "3.13"])
def test_a_supported_python3_is_taken(clone: Clone, version: str) -> None:
    clone.add_python("python3", version)
    clone.add_python("python3.13", "3.13")
    assert '"python3" -m venv' in clone.plan("test")


def test_another_python_is_found_by_running_it(clone: Clone) -> None:
    clone.add_python("python3", "3.10")
    clone.add_program("python3.13", "echo 'python3.13: command not found' >&2; exit 127")
    clone.add_python("python3.12", "3.12")
    assert '"python3.12" -m venv' in clone.plan("test")


def test_a_python_is_asked_for_by_its_path(clone: Clone) -> None:
    clone.add_python("a python", "3.12")
    path = clone.programs / "a python"
    assert f'"{path}" -m venv' in clone.plan("test", f"PYTHON={path}")


def test_the_second_time_installs_nothing(clone: Clone) -> None:
    clone.add_environment("3.11")
    plan = clone.plan("test").splitlines()
    tools = ["ruff check", "ruff format --check", "pytest --numprocesses 2 --dist loadfile"]
    assert plan == [f".venv/bin/python -m {tool}" for tool in tools]


@pytest.mark.parametrize("changed", ["pyproject.toml", "requirements.txt"])
def test_a_changed_list_of_packages_is_installed(clone: Clone, changed: str) -> None:
    clone.add_python("python3", "3.11")
    clone.add_environment("3.11")
    later = (clone.path / ".venv" / "ready").stat().st_mtime + 10
    os.utime(clone.path / changed, (later, later))
    assert SET_UP in clone.plan("lab")


def test_another_python_rebuilds_when_asked_for(clone: Clone) -> None:
    clone.add_python("python3", "3.11")
    clone.add_python("python3.13", "3.13")
    clone.add_environment("3.11")
    assert SET_UP in clone.plan("test", "PYTHON=python3.13")
    assert SET_UP not in clone.plan("test", "PYTHON=python3")


def test_an_environment_whose_python_is_gone_is_rebuilt(clone: Clone) -> None:
    clone.add_python("python3", "3.11")
    clone.add_environment("3.12")
    (clone.path / ".venv" / "bin" / "python").unlink()
    assert SET_UP in clone.plan("test")


def test_an_environment_of_another_folder_is_rebuilt(clone: Clone) -> None:
    clone.add_python("python3", "3.11")
    clone.add_environment("3.11")
    clone.path = clone.path.rename(clone.path.with_name("moved clone"))
    assert SET_UP in clone.plan("test")


def test_an_interrupted_installation_starts_again(clone: Clone) -> None:
    clone.add_python("python3", "3.11")
    result = clone.make("test")
    assert result.returncode != 0
    assert ".venv" in clone.files()
    assert "rm -rf .venv" in clone.plan("test")


@pytest.mark.parametrize(("user", "allowed"), [("0", True), ("1000", False)])
def test_jupyterlab_starts_for_root_too(clone: Clone, user: str, allowed: bool) -> None:
    clone.add_program("id", f"echo {user}")
    clone.add_environment("3.11")
    assert ("--allow-root" in clone.plan("lab")) == allowed


def test_jupyterlab_opens_the_first_notebook_on_this_machine_alone(clone: Clone) -> None:
    clone.add_environment("3.11")
    plan = clone.plan("lab", "LAB_ARGS=--no-browser --port 8890")
    assert "--ServerApp.ip=127.0.0.1" in plan
    assert "/lab/tree/notebooks/01_save_and_load.ipynb" in plan
    assert "--no-browser --port 8890" in plan


@pytest.mark.parametrize(
    ("arguments", "command"),
    [
        (["student"], "tools/editions.py student"),
        (["slides", "SLIDES_ARGS=--reveal ../reveal"], "tools/editions.py slides --reveal"),
        (["numbers", "NUMBERS_ARGS=--binder"], "tools/notebook_numbers.py --binder"),
    ],
    ids=["student", "slides", "numbers"],
)
def test_the_classroom_gets_its_editions(clone: Clone, arguments: list[str], command: str) -> None:
    clone.add_environment("3.11")
    (line,) = clone.plan(*arguments).splitlines()
    assert line.startswith(f".venv/bin/python {command}")
    assert line.endswith("notebooks/*.ipynb")


def test_every_cell_is_run_in_the_browser_when_asked_for(clone: Clone) -> None:
    clone.add_environment("3.11")
    (line,) = clone.plan("browser").splitlines()
    assert line.startswith("EVERY_CELL_IN_THE_BROWSER=yes .venv/bin/python -m pytest")
    assert (ROOT / line.split()[4]).is_file()
    assert "EVERY_CELL_IN_THE_BROWSER" not in clone.plan("test")


def test_the_engine_has_an_environment_of_its_own(clone: Clone) -> None:
    clone.add_python("python3", "3.11")
    clone.add_environment("3.11")
    plan = clone.plan("scale", "SCALE_ARGS=--short")
    assert SET_UP not in plan
    assert "--python .venv-scale/bin/python install -r requirements-scale.txt" in plan
    assert plan.splitlines()[-1] == ".venv/bin/python -m tools.scale --short"
    shutil.copytree(clone.path / ".venv", clone.path / ".venv-scale")
    assert clone.plan("scale").splitlines() == [".venv/bin/python -m tools.scale "]


def test_the_lock_is_compiled_without_a_new_installation(clone: Clone) -> None:
    (clone.path / ".venv" / "bin").mkdir(parents=True)
    (clone.path / ".venv" / "bin" / "uv").touch()
    plan = clone.plan("lock", "LOCK_ARGS=--upgrade")
    assert SET_UP not in plan
    assert "uv pip compile" in plan
    assert "--upgrade" in plan


@pytest.fixture
def ci(clone: Clone) -> Clone:
    """A clone with the CI script, where make and apt-get note how they were called."""
    shutil.copytree(ROOT / ".ci", clone.path / ".ci")
    note = f'echo "$(id) $0 $*" >> "{clone.path}/calls"'
    clone.add_program("id", "echo 0")
    clone.add_program(
        "make",
        f"""{note}; case "$1" in
            -n) test -e "{clone.path}/usable" ;;
            test) test ! -e "{clone.path}/broken" || exit 3 ;;
            scale) test ! -e "{clone.path}/lossy" || exit 6 ;;
            browser) test ! -e "{clone.path}/ugly" || exit 5 ;;
            *) exit 4 ;;
        esac""",
    )
    clone.add_program("apt-get", f'{note}; test "$1" = update || : > "{clone.path}/usable"')
    (clone.programs / "env").symlink_to(shutil.which("env") or "missing")
    return clone


def ci_calls(ci: Clone) -> tuple[int, list[str]]:
    """Run the CI script; return its result, and which programs it called."""
    result = ci.make(".ci/run", program=shutil.which("bash") or "bash")
    calls = [line.split() for line in (ci.path / "calls").read_text().splitlines()]
    return result.returncode, [" ".join([Path(call[1]).name, *call[2:]]) for call in calls]


INSTALL = "apt-get install --yes --no-install-recommends"


def test_ci_installs_what_is_missing(ci: Clone) -> None:
    packages = "make python3 python3-pip chromium npm iproute2"
    _, calls = ci_calls(ci)
    assert calls[:3] == ["make -n test", "apt-get update", f"{INSTALL} {packages}"]


def test_ci_installs_a_browser_alone_on_a_machine_with_python(ci: Clone) -> None:
    (ci.path / "usable").touch()
    ci.add_program("npm", "exit 1")
    ci.add_program("ip", "exit 1")
    assert f"{INSTALL} chromium" in ci_calls(ci)[1]


def test_ci_installs_nothing_on_a_machine_that_is_ready(ci: Clone) -> None:
    (ci.path / "usable").touch()
    ci.add_program("npm", "exit 1")
    ci.add_program("chromium", "exit 1")
    ci.add_program("ip", "exit 1")
    scale = "make scale SCALE_ARGS=--short --if-possible"
    assert ci_calls(ci) == (0, ["make -n test", scale, "make test", "make browser"])


def test_ci_fails_when_a_test_fails(ci: Clone) -> None:
    (ci.path / "broken").touch()
    result, calls = ci_calls(ci)
    assert (result, calls[-1]) == (3, "make test")


def test_ci_fails_when_a_request_is_lost(ci: Clone) -> None:
    (ci.path / "lossy").touch()
    assert ci_calls(ci)[0] == 6


def test_ci_fails_when_a_lesson_fails_in_the_browser(ci: Clone) -> None:
    (ci.path / "ugly").touch()
    assert ci_calls(ci)[0] == 5


def test_ci_can_be_run() -> None:
    assert (ROOT / ".ci" / "run").stat().st_mode & stat.S_IXUSR
