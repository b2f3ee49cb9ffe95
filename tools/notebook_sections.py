"""What the sections of a notebook ask of a reader: words, lines of code, exercises, minutes."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime

from nbformat import NotebookNode

from notebook_cells import FENCE, tags

WORDS_PER_MINUTE = 150
"""Prose with technical terms, read in a second language."""
CODE_LINES_PER_MINUTE = 20
MINUTES_PER_EXERCISE = 5
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
        elif "solution" not in tags(cell):
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
