"""What tests and tools read in a notebook: its cells, their tags, their texts."""

from __future__ import annotations

import re
from collections.abc import Iterator

from nbformat import NotebookNode

FENCE = re.compile(r"^```.*?^```", re.MULTILINE | re.DOTALL)


def cells_of(notebook: NotebookNode, kind: str) -> list[NotebookNode]:
    """List the cells of one kind."""
    return [cell for cell in notebook.cells if cell.cell_type == kind]


def tags(cell: NotebookNode) -> list[str]:
    """List the tags of a cell."""
    return cell.metadata.get("tags", [])


def texts(cell: NotebookNode) -> Iterator[str]:
    """Yield the texts that a cell printed, showed or raised; pictures are left out."""
    for output in cell.get("outputs", []):
        yield output.get("text", "")
        yield "\n".join(output.get("traceback", []))
        for kind, data in output.get("data", {}).items():
            if kind.startswith("text/"):
                yield data


def prose(cell: NotebookNode) -> str:
    """Return the text of a markdown cell without its blocks of code."""
    return FENCE.sub("", cell.source)


def headings(notebook: NotebookNode) -> list[tuple[int, int, str]]:
    """List (position of the cell, level, text) of every heading."""
    return [
        (position, len(marks), text)
        for position, cell in enumerate(notebook.cells)
        if cell.cell_type == "markdown"
        for marks, text in re.findall(r"^(#{1,6}) +(.*)", prose(cell), flags=re.MULTILINE)
    ]
