"""The rules for what learners answer: three questions, then exercises with a check."""

from __future__ import annotations

import re

from nbformat import NotebookNode

from notebook_cells import cells_of, headings, prose, tags, texts

QUESTIONS = 3
# Markdown in an answer is read as such only between empty lines.
ANSWER = re.compile(
    r"^<details>\n<summary>[^<\n]+</summary>\n\n(?:(?!</?details).)*\w(?:(?!</?details).)*"
    r"\n\n</details>$",
    re.MULTILINE | re.DOTALL,
)


def check_questions(notebook: NotebookNode) -> list[str]:
    """Before the exercises come exactly three questions, each with an answer behind a click."""
    starts = [place for place, _, text in headings(notebook) if text.endswith("Exercises")]
    first = starts[0] if starts else len(notebook.cells)
    cells = cells_of(notebook, "markdown")
    before = [cell for cell in notebook.cells[:first] if cell.cell_type == "markdown"]
    complete = sum(len(ANSWER.findall(prose(cell))) for cell in before)
    opened = sum(prose(cell).count("<details") for cell in cells)
    findings = []
    if complete != QUESTIONS:
        findings.append(f"{complete} hidden answers before the exercises, wanted: {QUESTIONS}")
    if opened != complete:
        findings.append(f"{opened - complete} more answers: open, empty, or in another place")
    return findings


def check_solutions(notebook: NotebookNode) -> list[str]:
    """Every exercise has a stub, a check that answers "Not yet", and a folded, right solution."""
    findings = []
    stub = refused = False
    solutions = 0
    for cell in notebook.cells:
        answers = [text for text in texts(cell) if text]
        if cell.cell_type == "markdown" and re.search(
            r"^#+ Exercise \d", cell.source, re.MULTILINE
        ):
            stub = refused = False
        elif "solution" in tags(cell):
            solutions += 1
            if not (stub and refused):
                findings.append(f"no stub with a check that says Not yet before: {cell.source}")
            if not cell.metadata.get("jupyter", {}).get("source_hidden"):
                findings.append(f"the solution is in the open: {cell.source}")
            if not answers or not answers[-1].startswith("Passed"):
                findings.append(f"the solution is not accepted: {answers}")
        elif cell.cell_type == "code":
            # The stub and its check may share a cell.
            stub = stub or bool(re.search(r"^(?:def|class) |^\w+ = ", cell.source, re.MULTILINE))
            refused = stub and any(text.startswith("Not yet") for text in answers)
    titles = [text for _, _, text in headings(notebook) if re.match(r"Exercise \d", text)]
    if not titles or len(titles) != solutions:
        findings.append(f"{solutions} solutions for the exercises {titles}")
    return findings
