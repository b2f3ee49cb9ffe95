"""Run notebooks from a fresh kernel and store their outputs: ``make notebooks``.

A notebook is written only when all of its cells ran, so a failure leaves the file as it was.
What is stored does not depend on the day or the machine: no times, no Python patch version,
no progress bars, and a traceback is cut down to its message. On unchanged sources a second run
differs only in cells tagged ``nbval-ignore-output``, which hold measurements.
"""

from __future__ import annotations

import argparse
import os
import re
import sys
import time
from itertools import groupby
from pathlib import Path

import nbformat
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError, CellTimeoutError, DeadKernelError
from nbformat import NotebookNode

from notebook_cells import tags

NOTEBOOKS = Path(__file__).resolve().parents[1] / "notebooks"
KERNELSPEC = {"display_name": "Python 3 (ipykernel)", "language": "python", "name": "python3"}
WIDGET = "application/vnd.jupyter.widget-view+json"
# A line that was overwritten (by a carriage return or by backspaces) is a progress bar.
PROGRESS_LINE = re.compile(r"[^\n]*(?:\r(?!\n)|\x08)[^\n]*\n?")
ANSI_COLOUR = re.compile(r"\x1b\[[0-9;]*[A-Za-z]")


class NotebookError(Exception):
    """A notebook did not run as it should; the message shows the cell and its error."""


def execute(path: Path, timeout_seconds: int = 600) -> bool:
    """Run one notebook in its own folder and store its outputs.

    Args:
        path: the notebook.
        timeout_seconds: the longest that one cell may take.

    Returns:
        Whether the file changed.

    Raises:
        NotebookError: a cell failed, or a cell tagged ``raises-exception`` did not.
    """
    before = path.read_text(encoding="utf-8")
    notebook = nbformat.reads(before, as_version=4)
    for cell in code_cells(notebook):
        cell.outputs, cell.execution_count = [], None
    try:
        client_for(notebook, path.resolve().parent, timeout_seconds).execute()
    except (CellExecutionError, CellTimeoutError, DeadKernelError) as error:
        raise NotebookError(ANSI_COLOUR.sub("", str(error))) from None
    normalise(notebook)
    nbformat.validate(notebook)
    after = nbformat.writes(notebook).rstrip("\n") + "\n"
    if after != before:
        replace_text(path, after)
    return after != before


def client_for(notebook: NotebookNode, folder: Path, timeout_seconds: int = 600) -> NotebookClient:
    """Prepare a run of a notebook in a fresh kernel.

    Args:
        notebook: what to run. Outputs and times are left in it.
        folder: where the kernel starts.
        timeout_seconds: the longest that one cell may take.
    """
    return NotebookClient(
        notebook,
        kernel_name=KERNELSPEC["name"],
        timeout=timeout_seconds,
        resources={"metadata": {"path": str(folder)}},
        extra_arguments=["--log-level=ERROR"],  # it warns of TCP, which stays on this machine
    )


def code_cells(notebook: NotebookNode) -> list[NotebookNode]:
    """List the cells that a kernel runs."""
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def normalise(notebook: NotebookNode) -> None:
    """Keep, of what a run leaves in a notebook, what another run leaves too."""
    notebook.metadata["kernelspec"] = KERNELSPEC
    notebook.metadata.get("language_info", {}).pop("version", None)
    notebook.metadata.pop("widgets", None)
    for cell in code_cells(notebook):
        cell.metadata.pop("execution", None)  # when it ran
        cell.outputs = stable_outputs(cell.outputs)
        tagged = "raises-exception" in tags(cell)
        if tagged and not any(output.output_type == "error" for output in cell.outputs):
            raise NotebookError(
                f"{cell.source}\n\nThis cell is tagged raises-exception: none came."
            )


def stable_outputs(outputs: list[NotebookNode]) -> list[NotebookNode]:
    """Join the streams, drop the progress bars, and cut tracebacks down to their message.

    Of stdout and stderr in a row, stdout comes first: their order is left to chance.
    """
    kept = []
    for is_stream, group in groupby(outputs, lambda output: output.output_type == "stream"):
        if is_stream:
            kept += joined_streams(list(group))
            continue
        for output in group:
            if output.output_type == "error":
                # The frames name files of this machine; the reader needs the message.
                output.traceback = [f"{output.ename}: {output.evalue}"]
            if WIDGET not in output.get("data", {}):
                kept.append(output)
    return kept


def joined_streams(streams: list[NotebookNode]) -> list[NotebookNode]:
    """Join pieces of text, which the kernel cuts at random, to one output for each stream."""
    joined = []
    for name in ("stdout", "stderr"):
        text = "".join(stream.text for stream in streams if stream.name == name)
        if text := PROGRESS_LINE.sub("", text):
            joined.append(nbformat.v4.new_output("stream", name=name, text=text))
    return joined


def replace_text(path: Path, text: str) -> None:
    """Write a file in one step: an interruption leaves the old one or the new one."""
    draft = path.with_name(f".{path.name}.draft")
    try:
        draft.write_text(text, encoding="utf-8")
        os.replace(draft, path)
    finally:
        draft.unlink(missing_ok=True)


def main(arguments: list[str] | None = None) -> int:
    """Run the notebooks that are named, or all of them, and say how long each took."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("notebooks", nargs="*", type=Path, help="all of them when none is named")
    parser.add_argument("--timeout", type=int, default=600, help="seconds for a cell (%(default)s)")
    options = parser.parse_args(arguments)
    paths = options.notebooks or sorted(NOTEBOOKS.glob("*.ipynb"))
    if missing := [str(path) for path in paths if not path.is_file()]:
        parser.error(f"no such notebook: {', '.join(missing)}")

    start = time.perf_counter()
    failed = 0
    for path in paths:
        print(f"{path.name}: running", flush=True)
        lap = time.perf_counter()
        try:
            result = "stored" if execute(path, options.timeout) else "stored, nothing changed"
        except NotebookError as error:
            failed += 1
            result = "FAILED, file left as it was"
            print(error, file=sys.stderr)
        print(f"{path.name}: {result} ({time.perf_counter() - lap:.0f} s)", flush=True)
    print(f"{len(paths) - failed} of {len(paths)} stored in {time.perf_counter() - start:.0f} s")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
