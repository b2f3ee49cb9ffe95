"""Lay a notebook out as slides: split what is too tall, and say where a slide begins.

Heights are estimated in lines of body text. A test shows every slide in a browser and measures it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from copy import deepcopy
from itertools import groupby
from math import ceil

from nbformat import NotebookNode
from nbformat.v4 import new_markdown_cell

SLIDE_LINES = 15.5
TEXT_WIDTH = 78
"""Characters in a line of body text; deck.html.j2 sets the font sizes."""
CODE_WIDTH = 100
CODE_LINE = 0.66
"""The height of a line of code or output."""

BLOCK = re.compile(
    r"^```.*?^```|^<details>.*?^</details>|^#{1,6} [^\n]*|^(?:[^\n]*\S[^\n]*(?:\n|\Z))+",
    re.MULTILINE | re.DOTALL,
)
Part = tuple[str, float, NotebookNode]
"""The kind of a slide, its height in lines, and what is on it."""

HEADING = re.compile(r"(#{1,6}) ")
LEAD = re.compile(r"\*\*(?:\d+\.\*\* |[^*\n]+\*\*\Z)")
ITEM = re.compile(r"^(?=(?:[-*]|\d+\.) )", re.MULTILINE)


def lay_out(notebook: NotebookNode) -> NotebookNode:
    """Return a copy whose cells fit on slides and carry the metadata that nbconvert reads.

    A heading of level 1 or 2 opens a column of slides, one of level 3 a slide. Code follows the
    prose before it, and outputs follow the code: each after a click when there is room on the
    slide, else on the next one.
    """
    deck = deepcopy(notebook)
    deck.cells = []
    room = 0.0
    for cell in notebook.cells:
        parts = prose_parts(cell.source) if cell.cell_type == "markdown" else code_parts(cell)
        for kind, height, part in parts:
            if kind == "fragment" and height > room:
                kind = "subslide"
            room = (room if kind == "fragment" else SLIDE_LINES) - height
            part.metadata["slideshow"] = {"slide_type": kind}
            part["id"] = f"slide-{len(deck.cells)}"
            deck.cells.append(part)
    return deck


def prose_parts(source: str) -> Iterator[Part]:
    """Yield the slides of a markdown cell."""
    kept: list[str] = []
    for block in blocks(source):
        full = sum(map(text_height, [*kept, block])) > SLIDE_LINES
        if kept and (full or heading_level(block)) and not all(map(is_lead, kept)):
            # What leads to the next block goes with it.
            end = next(end for end in range(len(kept), 0, -1) if not is_lead(kept[end - 1]))
            yield prose_part(kept[:end])
            kept = kept[end:]
        kept.append(block)
    yield prose_part(kept)


def prose_part(kept: list[str]) -> Part:
    """Join blocks of markdown to one slide."""
    kind = "slide" if heading_level(kept[0]) in (1, 2) else "subslide"
    return kind, sum(map(text_height, kept)), new_markdown_cell("\n\n".join(kept))


def is_lead(block: str) -> bool:
    """Tell what leads to the next block: a heading, a line in bold alone, a numbered question."""
    return bool(heading_level(block) or LEAD.match(block))


def heading_level(block: str) -> int:
    """Return 1 to 3 for a heading that begins a slide, else 0."""
    found = HEADING.match(block)
    return len(found[1]) if found and len(found[1]) <= 3 else 0


def blocks(source: str) -> Iterator[str]:
    """Yield headings, paragraphs, lists, tables and blocks of code; too tall ones in pieces."""
    for block in (found[0].strip("\n") for found in BLOCK.finditer(source)):
        if text_height(block) <= SLIDE_LINES:
            yield block
        elif block.startswith("|"):
            yield from table_pieces(block)
        else:
            yield from (item.rstrip("\n") for item in ITEM.split(block) if item)


def table_pieces(table: str) -> Iterator[str]:
    """Yield tables of some rows each, all with the same head."""
    *head, first = table.split("\n", maxsplit=2)
    piece = list(head)
    for row in first.splitlines():
        if len(piece) > len(head) and text_height("\n".join([*piece, row])) > SLIDE_LINES - 3:
            yield "\n".join(piece)
            piece = list(head)
        piece.append(row)
    yield "\n".join(piece)


def text_height(block: str) -> float:
    """Estimate the height of a block of markdown, in lines of body text."""
    lines = block.splitlines()
    if heading_level(block):
        return 1.8 * ceil(len(block) / 60)
    if block.startswith("```"):
        return CODE_LINE * len(lines)
    if block.startswith("|"):
        return sum(1.15 * ceil(len(line) / 115) for line in lines)
    return sum(ceil(len(line) / TEXT_WIDTH) + 0.25 for line in lines) + 0.5


def code_parts(cell: NotebookNode) -> Iterator[Part]:
    """Yield the source of a code cell, then its outputs: texts and tables together."""
    source = deepcopy(cell)
    source["outputs"] = []
    yield "fragment", CODE_LINE * len(cell.source.splitlines()) + 1, source
    for kind, group in groupby(cell.get("outputs", []), kind_of):
        outputs = list(group)
        for together in [[each] for each in outputs] if kind == "picture" else [outputs]:
            shown = deepcopy(cell)
            shown["outputs"] = together
            shown.metadata["transient"] = {"remove_source": True}
            height = sum(map(output_height, together)) if kind == "text" else SLIDE_LINES
            yield "fragment", height, shown


def kind_of(output: NotebookNode) -> str:
    """Tell texts, tables (and other HTML) and pictures apart."""
    data = output.get("data", {})
    if "text/html" in data:
        return "table"
    return "picture" if any(kind.startswith("image/") for kind in data) else "text"


def output_height(output: NotebookNode) -> float:
    """Estimate the height of a text that a cell printed, answered or raised."""
    text = output.get("text") or output.get("data", {}).get("text/plain", "")
    text += "\n".join(output.get("traceback", []))
    return CODE_LINE * sum(ceil(len(line) / CODE_WIDTH) or 1 for line in text.splitlines()) + 0.5
