"""Print the numbers of the series: ``make numbers``. TEACHING.md takes its minutes from here.

Always: words, cells and minutes of each notebook, by section, and the size of the environment.
With ``--run``, every notebook is run in a fresh kernel, and nothing is stored: its seconds and the
ratio to its floor (kernel, imports and training), the peak of its memory, the seconds by section.
With ``--binder``, it is run with what Binder gives: one core, and 2 GB for all processes together.
With ``--tests``, ``make test`` is timed.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import time
from pathlib import Path

import nbformat
from nbformat import NotebookNode

import environment_size
from notebook_runs import BINDER_BYTES, Run, run, run_with_floor
from notebook_sections import (
    CODE_LINES_PER_MINUTE,
    MINUTES_PER_EXERCISE,
    WORDS_PER_MINUTE,
    read_sections,
)

ROOT = Path(__file__).resolve().parents[1]


def notebook_table(name: str, notebook: NotebookNode, *, ran: bool = False) -> str:
    """Write the counts of one notebook, with the seconds of its sections when it ran."""
    sections = read_sections(notebook)
    rows = [
        f"{name}: {len(notebook.cells)} cells, {sum(each.words for each in sections):,} words, "
        f"{sum(each.minutes for each in sections):.0f} minutes",
        f"  {'minutes':>7} {'words':>6} {'code lines':>10} {'exercises':>9} {'run s':>6}  section",
    ]
    for each in sections:
        seconds = f"{each.seconds:.1f}" if ran else ""
        rows.append(
            f"  {each.minutes:7.1f} {each.words:6} {each.code_lines:10} {each.exercises:9} "
            f"{seconds:>6}  {each.title}"
        )
    return "\n".join(rows)


def run_line(lesson: Run, floor: Run) -> str:
    """Write how a notebook ran, in seconds and as a ratio to its floor."""
    if failure := lesson.failure or floor.failure:
        return f"  run: {failure}"
    return (
        f"  run: {lesson.seconds:.0f} s, {lesson.seconds / floor.seconds:.1f} times its floor of "
        f"{floor.seconds:.1f} s (kernel, imports, training); peak memory {lesson.peak}"
    )


def binder_line(result: Run, limit_bytes: int) -> str:
    """Write how a notebook ran as on Binder."""
    return (
        f"  as on Binder: {result.failure or 'all cells ran'}, {result.seconds:.0f} s on one core, "
        f"peak memory {result.peak} of {limit_bytes / 1e6:,.0f} MB, after {result.peak_s:.0f} s"
    )


def print_notebook(path: Path, options: argparse.Namespace) -> bool:
    """Print the numbers of one notebook; tell whether all cells ran, when they were asked to."""
    folder = path.resolve().parent
    notebook = nbformat.read(path, as_version=4)
    runs = run_with_floor(notebook, folder) if options.run else ()
    print(notebook_table(path.name, notebook, ran=options.run))
    if runs:
        print(run_line(*runs), flush=True)
    if options.binder:
        notebook = nbformat.read(path, as_version=4)
        runs += (run(notebook, folder, BINDER_BYTES, on_one_core=True),)
        print(binder_line(runs[-1], BINDER_BYTES), flush=True)
    return not any(each.failure for each in runs)


def time_tests() -> bool:
    """Run the test command, print how long it took, tell whether the tests passed."""
    start = time.perf_counter()
    passed = subprocess.run(["make", "test"], cwd=ROOT, check=False).returncode == 0
    seconds = time.perf_counter() - start
    result = "passed" if passed else "FAILED"
    print(f"make test: {result}, {seconds:.0f} s on {os.cpu_count()} cores")
    return passed


def main(arguments: list[str] | None = None) -> int:
    """Print the numbers of the notebooks that are named, or of all of them."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("notebooks", nargs="*", type=Path, help="all of them when none is named")
    parser.add_argument(
        "--run", action="store_true", help="run them: seconds, ratio to the floor, peak memory"
    )
    parser.add_argument(
        "--binder", action="store_true", help="run them with one core and 2 GB, report the peak"
    )
    parser.add_argument("--tests", action="store_true", help="run and time `make test`")
    options = parser.parse_args(arguments)
    if options.binder and not hasattr(os, "sched_setaffinity"):
        parser.error("--binder limits processes in a way that Linux alone has")
    paths = options.notebooks or sorted((ROOT / "notebooks").glob("*.ipynb"))
    if missing := [str(path) for path in paths if not path.is_file()]:
        parser.error(f"no such notebook: {', '.join(missing)}")
    print(
        f"Minutes: {WORDS_PER_MINUTE} words or {CODE_LINES_PER_MINUTE} lines of code a minute, "
        f"{MINUTES_PER_EXERCISE} minutes for an exercise."
    )
    passed = [print_notebook(path, options) for path in paths]
    print(environment_size.report(), flush=True)
    if options.tests:
        passed.append(time_tests())
    return 0 if all(passed) else 1


if __name__ == "__main__":
    sys.exit(main())
