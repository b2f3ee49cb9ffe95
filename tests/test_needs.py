"""What a machine lacks is said at the end of a run, and is a failure under CI."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

import needs
from conftest import EVERY_CELL, ROOT

TESTS = """
import pytest
import needs

@pytest.mark.parametrize("number", [1, 2])
def test_a_page(number):
    pytest.skip(needs.CHROMIUM)

def test_a_package():
    pytest.skip(needs.NPM)

def test_it_works():
    pass

@pytest.mark.every_cell
def test_it_takes_minutes():
    raise AssertionError("it was run")
"""
LONG = "every cell of every lesson in JupyterLab: it takes minutes. Run: make browser"


def run_pytest(folder: Path, **variables: str) -> subprocess.CompletedProcess[str]:
    (folder / "test_small.py").write_text(TESTS)
    settings = {"PYTHONPATH": f"{ROOT / 'tests'}{os.pathsep}{ROOT / 'tools'}", **variables}
    outside = {name: value for name, value in os.environ.items() if name not in ("CI", EVERY_CELL)}
    options = ["-c", str(ROOT / "pyproject.toml"), "-p", "conftest", "-p", "no:cacheprovider"]
    return subprocess.run(
        [sys.executable, "-m", "pytest", *options, str(folder / "test_small.py")],
        env=outside | settings,
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.parametrize("workers", ["0", "2"])
def test_the_end_of_a_run_says_what_was_not_checked(tmp_path: Path, workers: str) -> None:
    result = run_pytest(tmp_path, PYTEST_ADDOPTS=f"--numprocesses {workers}")
    assert result.returncode == 0, result.stdout
    end = result.stdout.partition("not checked here")[2]
    lines = [line for line in end.splitlines() if line.strip("= ")]
    assert lines[:3] == [f"2 tests: {needs.CHROMIUM}", f"1 test: {needs.NPM}", LONG]
    for reason in (needs.CHROMIUM, needs.NPM, needs.MAKE):
        what, _, rest = reason.partition(", for ")
        why, _, remedy = rest.partition(". ")
        assert min(len(what), len(why), len(remedy)) >= 10, reason


def test_nothing_may_be_skipped_under_ci(tmp_path: Path) -> None:
    assert run_pytest(tmp_path, CI="true").returncode == 1


def test_make_browser_runs_every_cell(tmp_path: Path) -> None:
    result = run_pytest(tmp_path, **{EVERY_CELL: "yes"})
    assert result.returncode == 1
    assert "it was run" in result.stdout
    assert LONG not in result.stdout
