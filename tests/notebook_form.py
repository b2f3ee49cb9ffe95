"""The rules of form that every notebook follows. Each takes a notebook and returns findings."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable

import numpy as np
from nbformat import NotebookNode
from nbval.plugin import comment_markers

from notebook_cells import cells_of, headings, prose, tags, texts
from notebook_exercises import check_questions, check_solutions

TAGS = {"deeper", "nbval-ignore-output", "raises-exception", "solution"}
BANNED = re.compile(r"\b(just|simply|easily|obviously|trivial|of course)\b", re.IGNORECASE)
QUOTED = re.compile(r"`[^`\n]*`|\"[^\"\n]*\"")  # code, or the words of a message
MACHINE_PATH = re.compile(
    r"(?<![\w./])/(?:home|root|tmp|Users)\b[^\s'\"]*|(?<!\S)\S*site-packages\S*"
)
ADDRESS = re.compile(r"\b0x[0-9a-f]{6,}\b")
CPP_LOG = re.compile(
    r"^\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d+: [IWEF] .*|^[IWEF]\d{4} \d\d:\d\d:\d\d.*"
    r"|^.*(?:before absl::InitializeLog|cpu_feature_guard|oneDNN custom operations).*",
    re.MULTILINE,
)
OPENING = {
    "what you will have": r"you will have",
    "a table of prerequisites": r"^\|.*know.*\|\n\|[-| ]+\|\n\|",
    "the time": r"\*\*Time:?\*\*:? .*\bminutes?\b",
}
CLOSING = {
    "key points": r"key points",
    "when to choose": r"choose this strategy when",
    "an index of messages": r"^#+ .*index of .*messages",
    "exercises": r"^#+ .*exercises?",
    "what's next": r"^#+ what's next",
}


def is_compared(cell: NotebookNode) -> bool:
    """Say whether nbval compares what the cell prints."""
    return "nbval-ignore-output" not in tags(cell)


def check_execution(notebook: NotebookNode) -> list[str]:
    """All cells were run, from top to bottom, in a fresh kernel, and no error came unasked."""
    findings = []
    for expected, cell in enumerate(cells_of(notebook, "code"), start=1):
        if cell.execution_count != expected:
            findings.append(f"run {expected} has the number {cell.execution_count}: {cell.source}")
        if any(output.get("name") == "stderr" for output in cell.outputs):
            findings.append(f"stderr: {cell.source}")
        errors = [output for output in cell.outputs if output.output_type == "error"]
        if len(errors) != ("raises-exception" in tags(cell)):
            findings.append(f"{len(errors)} errors, tags {tags(cell)}: {cell.source}")
        for error in errors:
            trace = "".join(error.traceback)
            if len(error.traceback) != 1 or 'File "' in trace or MACHINE_PATH.search(trace):
                findings.append(f"the traceback is more than the message: {trace}")
    return findings


def check_alt_text(notebook: NotebookNode) -> list[str]:
    """Every picture says in words what it shows, in both places that readers' programs look at."""
    findings = []
    for cell in cells_of(notebook, "code"):
        for output in cell.outputs:
            pictures = [kind for kind in output.get("data", {}) if kind.startswith("image/")]
            for kind in pictures:
                alt = output.metadata.get(kind, {}).get("alt", "")
                if len(alt.split()) < 5:
                    findings.append(f"alt text {alt!r}: {cell.source}")
                if output.data.get("text/plain") != f"Figure: {alt}":
                    findings.append(f"text/plain is not the alt text: {cell.source}")
    return findings


def check_headings(notebook: NotebookNode) -> list[str]:
    """One H1, at the very top, and no level is left out on the way down."""
    found = headings(notebook)
    findings = []
    if [position for position, level, _ in found if level == 1] != [0]:
        findings.append("not exactly one H1 in the first cell")
    if not notebook.cells or not notebook.cells[0].source.startswith("# "):
        findings.append("the first cell does not start with the H1")
    levels = [0, *(level for _, level, _ in found)]
    for before, (_, level, text) in zip(levels, found, strict=False):
        if level > before + 1:
            findings.append(f"level {level} follows level {before}: {text}")
    return findings


def check_sizes(notebook: NotebookNode) -> list[str]:
    """Cells are small, and there is about as much prose as code."""
    markdown, code = cells_of(notebook, "markdown"), cells_of(notebook, "code")
    findings = []
    if not 40 <= len(notebook.cells) <= 110:
        findings.append(f"{len(notebook.cells)} cells, wanted: 40 to 110")
    if len(markdown) < len(code) - 1:
        findings.append(f"{len(markdown)} markdown cells for {len(code)} code cells")
    lines = [sum(bool(line.strip()) for line in cell.source.splitlines()) for cell in code]
    limits = {"median": (50, 8), "90th percentile": (90, 16), "longest": (100, 25)}
    for name, (percent, limit) in limits.items():
        size = np.percentile(lines, percent)
        if size > limit:
            findings.append(f"lines of code in a cell, {name}: {size:g}, wanted: at most {limit}")
    for cell in markdown:
        words = len(re.findall(r"\S*\w\S*", cell.source))
        if words > 250:
            findings.append(f"{words} words, wanted: at most 250: {cell.source[:60]}")
    findings += [f"empty cell {cell.id}" for cell in notebook.cells if not cell.source.strip()]
    return findings


def check_words(notebook: NotebookNode) -> list[str]:
    """No word tells learners that what they find hard is easy."""
    return [
        f"{word!r}: {cell.source[:60]}"
        for cell in cells_of(notebook, "markdown")
        for word in BANNED.findall(QUOTED.sub("", prose(cell)))
    ]


def check_tags(notebook: NotebookNode) -> list[str]:
    """Tags are known and have an effect, and no comment hides a cell from nbval."""
    findings = []
    for cell in notebook.cells:
        findings += [f"unknown tag {tag!r}" for tag in set(tags(cell)) - TAGS]
        if "raises-exception" in tags(cell) and re.search(r"^\s*assert\b", cell.source, re.M):
            findings.append(f"a failed assert looks like the error that is meant: {cell.source}")
        if not is_compared(cell) and not cell.get("outputs"):
            findings.append(f"nothing to ignore: {cell.source}")
        if cell.cell_type == "code":
            findings += [f"{mark} in a comment" for mark in comment_markers if mark in cell.source]
    return findings


def count_compared(notebook: NotebookNode) -> tuple[int, int]:
    """Return how many code cells print, and how many of these nbval compares."""
    printing = [cell for cell in cells_of(notebook, "code") if cell.outputs]
    return len(printing), sum(map(is_compared, printing))


def check_compared(notebook: NotebookNode) -> list[str]:
    """Nbval compares at least 80% of the cells that print."""
    printing, compared = count_compared(notebook)
    if printing and compared >= 0.8 * printing:
        return []
    return [f"{compared} of {printing} printing cells are compared"]


def check_identity(notebook: NotebookNode) -> list[str]:
    """Any Jupyter can open it, and tools can tell the cells apart."""
    findings = []
    if notebook.metadata.get("kernelspec", {}).get("name") != "python3":
        findings.append("the kernel is not python3")
    ids = Counter(cell.get("id") for cell in notebook.cells)
    return findings + [
        f"{count} cells have the id {id_}" for id_, count in ids.items() if count > 1
    ]


def check_machine(notebook: NotebookNode) -> list[str]:
    """Nothing in it belongs to one machine or to one run."""
    findings = []
    for cell in notebook.cells:
        outputs = "\n".join(texts(cell))
        findings += [f"path: {found}" for found in MACHINE_PATH.findall(cell.source + outputs)]
        findings += [f"log line: {found}" for found in CPP_LOG.findall(outputs)]
        if is_compared(cell):
            findings += [f"memory address: {found}" for found in ADDRESS.findall(outputs)]
    return findings


def check_frame(notebook: NotebookNode) -> list[str]:
    """The opening says what comes, and the closing what to remember."""
    flags = re.MULTILINE | re.IGNORECASE
    opening = notebook.cells[0].source
    findings = [
        f"the opening lacks {name}"
        for name, pattern in OPENING.items()
        if not re.search(pattern, opening, flags)
    ]
    objectives = len(re.findall(r"^\d\. ", opening, flags))
    if not 3 <= objectives <= 5:
        findings.append(f"{objectives} objectives, wanted: 3 to 5")
    starts = [place for place, _, text in headings(notebook) if re.search(r"\bChoose$", text)]
    closing = "\n".join(
        cell.source for cell in notebook.cells[starts[-1] if starts else len(notebook.cells) :]
    )
    return findings + [
        f"the closing lacks {name}"
        for name, pattern in CLOSING.items()
        if not re.search(pattern, closing, flags)
    ]


RULES: tuple[Callable[[NotebookNode], list[str]], ...] = (
    check_execution,
    check_alt_text,
    check_headings,
    check_sizes,
    check_words,
    check_tags,
    check_compared,
    check_questions,
    check_solutions,
    check_identity,
    check_machine,
    check_frame,
)
