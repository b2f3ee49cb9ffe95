"""Print how long the notebooks are: ``make numbers``. TEACHING.md takes its minutes from here.

Minutes to read are estimated from words and lines of code, at the speeds below. With ``--run``,
every notebook is run in a fresh kernel, nothing is stored, and the seconds of its cells are added.
With ``--binder``, it has what Binder gives: one core, and 2 GB for all processes together. This
program counts too, in place of the server that starts the kernels there.
"""

from __future__ import annotations

import argparse
import os
import re
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import nbformat
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError, CellTimeoutError, DeadKernelError
from nbformat import NotebookNode

from notebook_cells import FENCE
from process_memory import MemoryWatch

NOTEBOOKS = Path(__file__).resolve().parents[1] / "notebooks"
WORDS_PER_MINUTE = 150
"""Prose with technical terms, read in a second language."""
CODE_LINES_PER_MINUTE = 20
MINUTES_PER_EXERCISE = 5
BINDER_BYTES = 2 * 10**9
SECTION = re.compile(r"^(?=## )", re.MULTILINE)
EXERCISE = re.compile(r"^#+ Exercise \d", re.MULTILINE)


@dataclass
class Section:
    """What a section asks of a reader.

    Attributes:
        title: the heading of level 2; "Opening" for what comes before the first one.
        words, code_lines, exercises, cells: how many. Solutions are not counted as code to read.
        seconds: how long its cells ran, when they were run.
    """

    title: str
    words: int = 0
    code_lines: int = 0
    exercises: int = 0
    cells: int = 0
    seconds: float = 0.0

    @property
    def minutes(self) -> float:
        """Minutes to read and to try the exercises; running cells can be read meanwhile."""
        reading = self.words / WORDS_PER_MINUTE + self.code_lines / CODE_LINES_PER_MINUTE
        return reading + self.exercises * MINUTES_PER_EXERCISE


def read_sections(notebook: NotebookNode) -> list[Section]:
    """Count by section. A markdown cell may end one section and begin the next."""
    sections = [Section("Opening")]
    for cell in notebook.cells:
        if cell.cell_type == "markdown":
            for text in SECTION.split(cell.source):
                if text.startswith("## "):
                    sections.append(Section(text.splitlines()[0].removeprefix("## ")))
                prose, code = FENCE.sub("", text), "".join(FENCE.findall(text))
                sections[-1].words += len(re.findall(r"\S*\w\S*", prose))
                sections[-1].code_lines += len(code.splitlines())
                sections[-1].exercises += len(EXERCISE.findall(text))
        elif "solution" not in cell.metadata.get("tags", []):
            sections[-1].code_lines += sum(bool(line.strip()) for line in cell.source.splitlines())
        sections[-1].cells += 1
        sections[-1].seconds += cell_seconds(cell)
    return sections


def cell_seconds(cell: NotebookNode) -> float:
    """Read how long a cell ran from the times that nbclient noted, 0 when it did not run."""
    times = cell.metadata.get("execution", {})
    if "shell.execute_reply" not in times:
        return 0.0
    start, end = (
        datetime.fromisoformat(times[key]) for key in ("iopub.status.busy", "shell.execute_reply")
    )
    return (end - start).total_seconds()


def run(notebook: NotebookNode, folder: Path) -> float:
    """Run all cells in a fresh kernel; return the seconds from its start to the last answer."""
    start = time.perf_counter()
    resources = {"metadata": {"path": str(folder)}}
    NotebookClient(notebook, kernel_name="python3", timeout=600, resources=resources).execute()
    return time.perf_counter() - start


@contextmanager
def one_core() -> Iterator[None]:
    """Keep this thread, and the processes that it starts, on one core."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(before)})
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


def run_as_on_binder(name: str, notebook: NotebookNode, folder: Path, limit_bytes: int) -> bool:
    """Run all cells on one core, with a limit to the memory; print a line, tell whether it ran."""
    result = "all cells ran"
    start = time.perf_counter()
    with MemoryWatch(limit_bytes) as watch, one_core():
        try:
            run(notebook, folder)
        except (CellExecutionError, CellTimeoutError, DeadKernelError) as error:
            result = "KILLED" if watch.killed else f"FAILED: {error}"
    print(
        f"{name}: {result}, {time.perf_counter() - start:.0f} s on one core, peak memory "
        f"{watch.peak_bytes / 1e6:,.0f} MB of {limit_bytes / 1e6:,.0f} MB, "
        f"after {watch.peak_s:.0f} s",
        flush=True,
    )
    return result == "all cells ran"


def report(name: str, notebook: NotebookNode, wall_seconds: float | None = None) -> str:
    """Write the table of one notebook."""
    sections = read_sections(notebook)
    ran = "" if wall_seconds is None else f", runs {wall_seconds:.0f} s in all"
    rows = [
        f"{name}: {len(notebook.cells)} cells, {sum(each.words for each in sections):,} words, "
        f"{sum(each.minutes for each in sections):.0f} minutes{ran}",
        f"  {'minutes':>7} {'words':>6} {'code lines':>10} {'exercises':>9} {'run s':>6}  section",
    ]
    for each in sections:
        seconds = "" if wall_seconds is None else f"{each.seconds:.1f}"
        rows.append(
            f"  {each.minutes:7.1f} {each.words:6} {each.code_lines:10} {each.exercises:9} "
            f"{seconds:>6}  {each.title}"
        )
    return "\n".join(rows)


def main(arguments: list[str] | None = None) -> int:
    """Print the numbers of the notebooks that are named, or of all of them."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("notebooks", nargs="*", type=Path, help="all of them when none is named")
    parser.add_argument("--run", action="store_true", help="run them, and time the cells")
    parser.add_argument(
        "--binder", action="store_true", help="run them with one core and 2 GB, report the peak"
    )
    options = parser.parse_args(arguments)
    if options.binder and not hasattr(os, "sched_setaffinity"):
        parser.error("--binder limits processes in a way that Linux alone has")
    paths = options.notebooks or sorted(NOTEBOOKS.glob("*.ipynb"))
    if missing := [str(path) for path in paths if not path.is_file()]:
        parser.error(f"no such notebook: {', '.join(missing)}")
    if options.binder:
        notebooks = {path: nbformat.read(path, as_version=4) for path in paths}
        ran = [
            run_as_on_binder(path.name, notebook, path.resolve().parent, BINDER_BYTES)
            for path, notebook in notebooks.items()
        ]
        return 0 if all(ran) else 1
    print(
        f"Minutes: {WORDS_PER_MINUTE} words or {CODE_LINES_PER_MINUTE} lines of code a minute, "
        f"{MINUTES_PER_EXERCISE} minutes for an exercise."
    )
    for path in paths:
        notebook = nbformat.read(path, as_version=4)
        wall_seconds = run(notebook, path.resolve().parent) if options.run else None
        print(report(path.name, notebook, wall_seconds))
    return 0


if __name__ == "__main__":
    sys.exit(main())
