"""Run a notebook in a fresh kernel and store nothing: its seconds, its memory, its floor."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path

from nbclient.exceptions import CellExecutionError, CellTimeoutError, DeadKernelError
from nbformat import NotebookNode
from nbformat.v4 import new_code_cell, new_notebook

from execute_notebooks import ANSI_COLOUR, client_for
from notebook_cells import cells_of
from process_memory import MemoryWatch

BINDER_BYTES = 2 * 10**9
TRAINING = """\
from helpers.lessons.digits import load_digits
from helpers.lessons.models import build_digits_cnn, train

digits = load_digits()
model = build_digits_cnn()
train(model, digits)"""
"""What each lesson does before its own subject begins."""


@dataclass(frozen=True)
class Run:
    """How a notebook ran.

    Attributes:
        seconds: from the start of the kernel to its end.
        peak_bytes: the largest proportional memory (PSS) of this program, in place of the server
            that starts kernels elsewhere, and of all that it started. 0 where it is not known: on
            another system than Linux.
        peak_s: when that was, in seconds after the start.
        lesson_bytes: the part of the peak without this program: the kernel and what it started.
        failure: why not all cells ran; empty when they did.
    """

    seconds: float
    peak_bytes: int
    peak_s: float
    lesson_bytes: int = 0
    failure: str = ""

    @property
    def peak(self) -> str:
        """The peak as a text: of the lesson, and with this program."""
        if not self.peak_bytes:
            return "unknown (not Linux)"
        return (
            f"{self.lesson_bytes / 1e6:,.0f} MB, with this program {self.peak_bytes / 1e6:,.0f} MB"
        )


@contextmanager
def one_core() -> Iterator[None]:
    """Keep this thread, and the processes that it starts, on one core."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(before)})
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


def run(
    notebook: NotebookNode,
    folder: Path,
    limit_bytes: int | None = None,
    *,
    on_one_core: bool = False,
) -> Run:
    """Run all cells of a notebook in a fresh kernel. Outputs and times are left in `notebook`.

    Args:
        notebook: what to run.
        folder: where the kernel starts.
        limit_bytes: the kernel and its processes are killed above this memory.
        on_one_core: keeps the kernel on one core. The watch over the memory may use the others.
    """
    failure = ""
    client = client_for(notebook, folder)
    start = time.perf_counter()
    with MemoryWatch(limit_bytes) as watch, one_core() if on_one_core else nullcontext():
        try:
            client.execute()
        except (CellExecutionError, CellTimeoutError, DeadKernelError) as error:
            failure = "KILLED" if watch.killed else f"FAILED: {ANSI_COLOUR.sub('', str(error))}"
    return Run(
        time.perf_counter() - start, watch.peak_bytes, watch.peak_s, watch.started_bytes, failure
    )


def floor_notebook(notebook: NotebookNode) -> NotebookNode:
    """Build the shortest lesson: the imports of this one (its first code cell), and the training.

    Running it takes what no edit of the lesson can save: a kernel, its imports, a trained model.
    """
    imports = [new_code_cell(cell.source) for cell in cells_of(notebook, "code")[:1]]
    return new_notebook(cells=[*imports, new_code_cell(TRAINING)])


def run_with_floor(notebook: NotebookNode, folder: Path) -> tuple[Run, Run]:
    """Run a notebook, and its floor once before and once after it.

    The run before finds the files of the libraries on the disk, all others find them in memory.
    The quicker one of the two is returned, so a busy moment does not make the floor higher.

    Returns:
        How the notebook ran, and how its floor did.
    """
    shortest = floor_notebook(notebook)
    before = run(deepcopy(shortest), folder)
    lesson = run(notebook, folder)
    after = run(deepcopy(shortest), folder)
    return lesson, min(before, after, key=lambda each: (each.failure == "", each.seconds))
