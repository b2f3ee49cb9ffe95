"""The numbers of ``make numbers``: counts, seconds, the floor, memory, disk, the test command."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Callable
from itertools import cycle
from pathlib import Path

import nbformat
import pytest
from nbformat import NotebookNode
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook

import environment_size
import needs
import notebook_numbers
import notebook_runs
import notebook_sections
import process_memory
from conftest import RunPython
from notebook_runs import Run
from process_memory import MemoryWatch

ROOT = Path(__file__).resolve().parents[1]
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
CHILD = "import subprocess, sys\nsubprocess.run([sys.executable, '-c', {!r}], check=True)"
FILL = "import time; block = b'x' * 300_000_000; time.sleep(1)"
on_linux = needs.linux("the memory of a lesson")


def lesson(*sources: str) -> NotebookNode:
    """Build a lesson of one section, with these code cells and an exercise with its solution."""
    solution = new_code_cell("answer = 42", metadata={"tags": ["solution"]})
    return new_notebook(
        cells=[
            new_markdown_cell("# Learn a thing\n\nWords.\n\n## 1. Do it\n\nRead."),
            *map(new_code_cell, sources),
            new_markdown_cell("### Exercise 1: answer"),
            solution,
        ]
    )


Numbers = Callable[..., tuple[int, str]]


@pytest.fixture
def numbers(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> Numbers:
    """Run the program on one lesson; return its exit code and what it printed.

    Its floor trains nothing, and the environment is measured by other tests.
    """
    monkeypatch.setattr(notebook_runs, "TRAINING", "pass")
    monkeypatch.setattr(environment_size, "report", lambda: "Environment")

    def measure(notebook: NotebookNode, *options: str) -> tuple[int, str]:
        path = tmp_path / "lesson.ipynb"
        nbformat.write(notebook, path)
        before = path.read_bytes()
        code = notebook_numbers.main([*options, str(path)])
        assert path.read_bytes() == before
        return code, capsys.readouterr().out

    return measure


# Counts


def test_the_counts_of_a_lesson() -> None:
    opening, section = notebook_sections.read_sections(lesson("print(1)\n\nprint(2)"))
    assert (opening.title, opening.words) == ("Opening", 4)
    assert section.title == "1. Do it"
    assert (section.exercises, section.code_lines) == (1, 2)
    assert section.minutes > notebook_sections.MINUTES_PER_EXERCISE


def test_without_options_nothing_runs(numbers: Numbers) -> None:
    code, text = numbers(lesson("raise ValueError"))
    assert code == 0
    assert "1. Do it" in text
    assert "Environment" in text
    assert "run:" not in text


# Running


def test_the_seconds_of_a_lesson_are_measured(numbers: Numbers) -> None:
    code, text = numbers(lesson("import time\ntime.sleep(0.5)"), "--run")
    assert code == 0
    (section,) = re.findall(r"^ .+ ([\d.]+)  1\. Do it$", text, re.MULTILINE)
    found = re.search(r"run: (\d+) s, ([\d.]+) times its floor of ([\d.]+) s", text)
    seconds, ratio, floor = map(float, found.groups())
    assert 0.5 <= float(section) <= seconds + 1
    assert seconds / floor == pytest.approx(ratio, abs=0.1 + 1 / floor)  # they are rounded


def test_a_lesson_that_fails_is_reported(numbers: Numbers) -> None:
    code, text = numbers(lesson("raise ValueError('no such thing')"), "--run")
    assert code == 1
    assert re.search(r"run: FAILED: .*no such thing", text, re.DOTALL)


def test_the_ratio_is_to_the_floor() -> None:
    line = notebook_numbers.run_line(
        Run(40.0, 900_000_000, 1.0, 800_000_000), Run(10.0, 700_000_000, 1.0)
    )
    assert "40 s, 4.0 times its floor of 10.0 s" in line
    assert "peak memory 800 MB, with this program 900 MB" in line
    assert "peak memory unknown" in notebook_numbers.run_line(Run(1, 0, 0), Run(1, 0, 0))
    assert "run: no" in notebook_numbers.run_line(Run(1, 0, 0), Run(1, 0, 0, failure="no"))


def test_the_floor_is_the_quicker_run(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    runs = [Run(20.0, 0, 0), Run(60.0, 0, 0), Run(10.0, 0, 0)]
    monkeypatch.setattr(notebook_runs, "run", lambda *_: runs.pop(0))
    measured, floor = notebook_runs.run_with_floor(lesson("1"), tmp_path)
    assert (measured.seconds, floor.seconds) == (60.0, 10.0)


def test_a_floor_that_failed_is_not_the_quicker_one(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    runs = [Run(10.0, 0, 0), Run(60.0, 0, 0), Run(20.0, 0, 0, failure="KILLED")]
    monkeypatch.setattr(notebook_runs, "run", lambda *_: runs.pop(0))
    assert notebook_runs.run_with_floor(lesson("1"), tmp_path)[1].failure == "KILLED"


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.name)
def test_the_floor_has_the_imports_of_the_lesson(path: Path) -> None:
    notebook = nbformat.read(path, as_version=4)
    imports, training = notebook_runs.floor_notebook(notebook).cells
    assert "import keras\n" in imports.source
    assert imports.source in [cell.source for cell in notebook.cells]
    assert "train(model, digits)" in training.source
    code = "\n".join(cell.source for cell in notebook.cells if cell.cell_type == "code")
    assert set(training.source.splitlines()[-3:-1]) < set(code.splitlines())


def test_the_floor_trains_the_model() -> None:
    names: dict = {}
    exec(notebook_runs.TRAINING, names)
    images, labels = names["digits"].test_images, names["digits"].test_labels
    assert (names["model"].predict_on_batch(images).argmax(axis=1) == labels).mean() > 0.95


# As on Binder


@on_linux
def test_binder_gives_one_core(numbers: Numbers) -> None:
    cores = os.sched_getaffinity(0)
    only_one = "import os; assert len(os.sched_getaffinity(0)) == 1"
    code, text = numbers(lesson(CHILD.format(only_one)), "--binder")
    assert (code, "as on Binder: all cells ran" in text) == (0, True)
    assert os.sched_getaffinity(0) == cores


ALONE = """
import sys
sys.path.insert(0, sys.argv[1])
import environment_size, notebook_numbers
environment_size.report = lambda: "Environment"
notebook_numbers.BINDER_BYTES = int(sys.argv[2])
sys.exit(notebook_numbers.main(["--binder", sys.argv[3]]))
"""


def peak_on_binder(
    run_python: RunPython, folder: Path, source: str, limit_bytes: int
) -> tuple[int, str, float]:
    """Run a lesson whose kernel starts a child; return the exit code, the text, the peak.

    In a fresh process: the share of this one in TensorFlow's libraries changes with every other
    process that loads them.
    """
    path = folder / "lesson.ipynb"
    nbformat.write(lesson(CHILD.format(source)), path)
    result = run_python(ALONE, ROOT / "tools", str(limit_bytes), path)
    text = result.stdout.replace(",", "")
    alone, peak = map(float, re.findall(r"(\d+) MB with this program (\d+) MB", text)[0])
    assert 20 < peak - alone < 200  # the program: Python with nbclient
    return result.returncode, result.stdout, 1e6 * peak


@on_linux
def test_binder_counts_and_stops_what_a_child_of_the_kernel_needs(
    run_python: RunPython, tmp_path: Path
) -> None:
    much = 10 * 10**9
    small = peak_on_binder(run_python, tmp_path, "import time; time.sleep(1)", much)
    large = peak_on_binder(run_python, tmp_path, FILL, much)
    assert (small[0], large[0]) == (0, 0)
    assert "as on Binder: all cells ran" in large[1]
    assert 250_000_000 < large[2] - small[2] < 350_000_000
    limit = int(large[2]) - 150_000_000
    code, text, _ = peak_on_binder(run_python, tmp_path, FILL, limit)
    assert (code, "as on Binder: KILLED" in text) == (1, True)


@on_linux
def test_binder_says_what_failed(numbers: Numbers) -> None:
    code, text = numbers(lesson("raise ValueError('no such thing')"), "--binder")
    assert (code, "FAILED" in text, "no such thing" in text) == (1, True, True)


@on_linux
@pytest.mark.parametrize(
    ("resident_mb", "proportional_mb", "reads"),
    [([5], 3, {1}), ([9, 5, 8, 4], 9, {1}), ([9, 5, 8, 4], 3, set(range(3, 100)))],
    ids=["it did not change", "no new peak is possible", "a peak is possible"],
)
def test_memory_is_read_when_it_can_matter(
    resident_mb: list[int],
    proportional_mb: int,
    reads: set[int],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    found = []
    resident = cycle(resident_mb)
    monkeypatch.setattr(process_memory, "INTERVAL_S", 0.01)
    monkeypatch.setattr(process_memory, "resident_bytes", lambda _: 10**6 * next(resident))
    monkeypatch.setattr(
        process_memory, "proportional_bytes", lambda _: found.append(1) or [10**6 * proportional_mb]
    )
    with MemoryWatch() as watch:
        time.sleep(1)
    assert len(found) in reads
    assert watch.peak_bytes == 10**6 * proportional_mb


@on_linux
def test_the_resident_memory_is_what_the_system_says() -> None:
    here = os.getpid()
    status = Path("/proc/self/status").read_text()
    kib = int(re.search(r"VmRSS:\s+(\d+) kB", status)[1])
    assert process_memory.resident_bytes([here]) == pytest.approx(1024 * kib, rel=0.1)
    assert process_memory.resident_bytes([here, here]) == pytest.approx(2048 * kib, rel=0.1)


# The test command


@pytest.mark.parametrize(("result", "word"), [(0, "passed"), (2, "FAILED")])
def test_the_test_command_is_timed(
    result: int, word: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, numbers: Numbers
) -> None:
    make = tmp_path / "make"
    make.write_text(f'#!/bin/sh\necho "$PWD $*" > "{tmp_path}/call"\nsleep 0.6\nexit {result}\n')
    make.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    code, text = numbers(lesson(), "--tests")
    assert (code != 0) == (result != 0)
    assert int(re.search(rf"make test: {word}, (\d+) s on", text)[1]) >= 1
    assert (tmp_path / "call").read_text() == f"{ROOT} test\n"
