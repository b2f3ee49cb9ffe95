"""Every notebook keeps the rules of form, and nbval compares what it shows.

The rules are in notebook_form.py. Each one is shown to fail on a small notebook with a fault.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nbformat
import pytest
from nbformat import NotebookNode
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output

import execute_notebooks
import notebook_form as form

ROOT = Path(__file__).resolve().parents[1]
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))

OPENING = """# Learn a thing

At the end you will have a thing.

1. make one
2. break one
3. choose one

| you should know | how well |
|---|---|
| Python | well |

**Time:** about 5 minutes."""

CLOSING = """## Choose

**Key points**

**Choose this strategy when** you have a thing.

### Index of the messages that you met

## Exercises

### Exercise 1: do it"""

QUESTIONS = "\n\n".join(
    f"**{number}.** Why?\n\n<details>\n<summary>Answer {number}</summary>\n\nFor `x`.\n\n</details>"
    for number in (1, 2, 3)
)

ALT = "A blue line that rises from left to right."


def code_cell(source: str, *outputs: NotebookNode, tag: str = "", **metadata: Any) -> NotebookNode:
    cell = new_code_cell(source, outputs=list(outputs), metadata=metadata)
    if tag:
        cell.metadata["tags"] = [tag]
    return cell


def printed(text: str, name: str = "stdout") -> NotebookNode:
    return new_output("stream", name=name, text=text)


def shown(alt: str = ALT, text: str = f"Figure: {ALT}") -> NotebookNode:
    data = {"image/png": "iVBORw0KGgo", "text/plain": text}
    return new_output("display_data", data, metadata={"image/png": {"alt": alt}})


def failed(*traceback: str) -> NotebookNode:
    return new_output("error", ename="ValueError", evalue="no", traceback=list(traceback))


def sound_notebook() -> NotebookNode:
    """Build a notebook that keeps every rule: 44 cells, all in a fixed place."""
    cells = [
        new_markdown_cell(OPENING),
        code_cell("print(1)", printed("1")),
        new_markdown_cell('Keras says *"of course"*, and `just()` is code.\n\n## Do it'),
        code_cell("show(figure)", shown()),
        new_markdown_cell("Read the message."),
        code_cell("fail()", failed("ValueError: no"), tag="raises-exception"),
        new_markdown_cell("It takes a while."),
        code_cell("measure()", printed("12 us"), tag="nbval-ignore-output"),
    ]
    for number in range(14):
        cells += [new_markdown_cell("Look."), code_cell(f"print({number})", printed(str(number)))]
    cells[QUIZ].source = QUESTIONS
    cells += [
        new_markdown_cell(CLOSING),
        code_cell("def answer():\n    raise NotImplementedError"),
        new_markdown_cell("Check it."),
        code_cell("check(answer)", printed("Not yet: write it.")),
        new_markdown_cell("The solution."),
        code_cell(
            "check(42)", printed("Passed: 42."), tag="solution", jupyter={"source_hidden": 1}
        ),
        new_markdown_cell("That is all."),
        new_markdown_cell("## What's next"),
    ]
    for number, cell in enumerate(form.cells_of(new_notebook(cells=cells), "code"), start=1):
        cell.execution_count = number
    metadata = {"kernelspec": {"name": "python3", "display_name": "Python 3"}}
    return new_notebook(cells=cells, metadata=metadata)


PRINT, PICTURE, ERROR, MEASURED, QUIZ, CLOSE, STUB, CHECK, SOLUTION = 1, 3, 5, 7, 34, 36, 37, 39, 41
"""Where the cells of `sound_notebook` are that a fault is planted in."""

Plant = Callable[[NotebookNode], object]


def source(position: int, text: str) -> Plant:
    """Plant a text as the source of a cell."""
    return lambda notebook: notebook.cells[position].update(source=text)


def without(position: int, text: str) -> Plant:
    """Leave a text out of the source of a cell."""

    def plant(notebook: NotebookNode) -> None:
        before = notebook.cells[position].source
        assert text in before
        notebook.cells[position].source = before.replace(text, "")

    return plant


def outputs(position: int, *planted: NotebookNode) -> Plant:
    """Plant the outputs of a cell."""
    return lambda notebook: notebook.cells[position].update(outputs=list(planted))


def tagged(position: int, *names: str) -> Plant:
    """Plant the tags of a cell."""
    return lambda notebook: notebook.cells[position].metadata.update(tags=list(names))


def prints_little(notebook: NotebookNode) -> None:
    for cell in form.cells_of(notebook, "code")[3:8]:
        cell.metadata["tags"] = ["nbval-ignore-output"]


def lines(*counts: int) -> Plant:
    """Make code cells this long, the first ones in the notebook."""

    def plant(notebook: NotebookNode) -> None:
        for cell, count in zip(form.cells_of(notebook, "code"), counts, strict=False):
            cell.source = "x = 1\n" * count

    return plant


FAULTS: dict[str, tuple[Callable[[NotebookNode], list[str]], Plant]] = {
    "cell not run": (
        form.check_execution,
        lambda notebook: notebook.cells[PRINT].update(execution_count=None),
    ),
    "cells run out of order": (
        form.check_execution,
        lambda notebook: notebook.cells[PRINT].update(execution_count=7),
    ),
    "stderr": (form.check_execution, outputs(PRINT, printed("careful", "stderr"))),
    "error without its tag": (form.check_execution, outputs(PRINT, failed("ValueError: no"))),
    "tag without its error": (form.check_execution, outputs(ERROR, printed("fine"))),
    "traceback with frames": (form.check_execution, outputs(ERROR, failed("one", "two"))),
    "traceback with a file": (form.check_execution, outputs(ERROR, failed('File "a.py", line 1'))),
    "traceback with a path": (form.check_execution, outputs(ERROR, failed("no /home/ann/a.keras"))),
    "short alt text": (form.check_alt_text, outputs(PICTURE, shown("A line.", "Figure: A line."))),
    "picture without alt text": (
        form.check_alt_text,
        outputs(PICTURE, new_output("display_data", {"image/png": "iVBORw0KGgo"})),
    ),
    "other plain text": (form.check_alt_text, outputs(PICTURE, shown(text="<Figure 700x300>"))),
    "two H1": (form.check_headings, source(4, "# Another")),
    "H1 in the middle": (form.check_headings, source(0, "Hello.\n\n# Learn a thing")),
    "skipped level": (form.check_headings, source(4, "#### Far down")),
    "too few cells": (form.check_sizes, lambda notebook: notebook.cells.__delitem__(slice(8, 14))),
    "too many cells": (
        form.check_sizes,
        lambda notebook: notebook.cells.extend(new_markdown_cell("More.") for _ in range(80)),
    ),
    "more code than prose": (
        form.check_sizes,
        lambda notebook: notebook.cells.extend(code_cell("x = 1") for _ in range(4)),
    ),
    "long cells everywhere": (form.check_sizes, lines(*[9] * 12)),
    "three long cells": (form.check_sizes, lines(17, 17, 17)),
    "one very long cell": (form.check_sizes, lines(26)),
    "long prose": (form.check_sizes, source(4, "word " * 251)),
    "empty cell": (form.check_sizes, source(PRINT, "\n")),
    "banned word": (form.check_words, source(4, "You Just call it.")),
    "banned words": (form.check_words, source(4, "Of course it works.")),
    "unknown tag": (form.check_tags, tagged(PRINT, "nbval-skip")),
    "assert before an error": (form.check_tags, source(ERROR, "assert 1 < 2\nfail()")),
    "nothing to ignore": (form.check_tags, outputs(MEASURED)),
    "hidden from nbval": (form.check_tags, source(PRINT, "# NBVAL_IGNORE_OUTPUT\nprint(1)")),
    "little is compared": (form.check_compared, prints_little),
    "two questions": (form.check_questions, without(QUIZ, QUESTIONS.split("\n\n**2")[0])),
    "question without an answer": (form.check_questions, without(QUIZ, "For `x`.")),
    "answer without a name": (form.check_questions, without(QUIZ, "<summary>Answer 2</summary>")),
    "answer that is not hidden": (
        form.check_questions,
        source(QUIZ, QUESTIONS.replace("<details>", "<details open>", 1)),
    ),
    "answer that is not read as markdown": (
        form.check_questions,
        source(QUIZ, QUESTIONS.replace("</summary>\n", "</summary>", 1)),
    ),
    "questions after the exercises": (
        form.check_questions,
        lambda notebook: notebook.cells.append(notebook.cells.pop(QUIZ)),
    ),
    "four questions": (
        form.check_questions,
        lambda notebook: notebook.cells.append(new_markdown_cell(QUESTIONS.split("\n\n**2")[0])),
    ),
    "stub missing": (form.check_solutions, lambda notebook: notebook.cells.__delitem__(STUB)),
    "stub that passes": (form.check_solutions, outputs(CHECK, printed("Passed: 42."))),
    "open solution": (
        form.check_solutions,
        lambda notebook: notebook.cells[SOLUTION].metadata.pop("jupyter"),
    ),
    "wrong solution": (form.check_solutions, outputs(SOLUTION, printed("Not yet: no."))),
    "solution without its tag": (form.check_solutions, tagged(SOLUTION)),
    "exercise without a solution": (
        form.check_solutions,
        lambda notebook: notebook.cells.append(new_markdown_cell("### Exercise 2: more")),
    ),
    "other kernel": (
        form.check_identity,
        lambda notebook: notebook.metadata.kernelspec.update(name="my-kernel"),
    ),
    "two cells with one id": (
        form.check_identity,
        lambda notebook: notebook.cells[1].update(id=notebook.cells[0].id),
    ),
    "path in an output": (form.check_machine, outputs(PRINT, printed("at /root/model.keras"))),
    "path in a source": (form.check_machine, source(PRINT, 'open("/tmp/model.keras")')),
    "path of a package": (
        form.check_machine,
        outputs(PRINT, printed("lib/python3.11/site-packages/keras/a.py:12: UserWarning")),
    ),
    "memory address": (form.check_machine, outputs(PRINT, printed("<f at 0x7f8262b280e0>"))),
    "log of C++": (
        form.check_machine,
        outputs(PRINT, printed("2026-01-01 10:00:00.123456: I tensorflow/core.cc:210] oneDNN")),
    ),
    "opening without a time": (form.check_frame, without(0, "**Time:** about 5 minutes.")),
    "opening without a table": (form.check_frame, without(0, "|---|---|\n")),
    "opening without a promise": (form.check_frame, without(0, "you will have a thing")),
    "two objectives": (form.check_frame, without(0, "3. choose one")),
    "no key points": (form.check_frame, without(CLOSE, "Key points")),
    "no choice": (form.check_frame, without(CLOSE, "Choose this strategy when")),
    "no index": (form.check_frame, without(CLOSE, "### Index of the messages")),
    "no exercises": (form.check_frame, without(CLOSE, "Exercise")),
    "no next step": (form.check_frame, lambda notebook: notebook.cells.pop()),
}


def test_there_is_a_notebook() -> None:
    assert NOTEBOOKS


@pytest.mark.parametrize("rule", form.RULES, ids=lambda rule: rule.__name__)
@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.name)
def test_the_notebook_keeps_the_rule(path: Path, rule: Callable[[NotebookNode], list[str]]) -> None:
    assert rule(nbformat.read(path, as_version=4)) == []


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.name)
def test_say_how_much_is_compared(path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    notebook = nbformat.read(path, as_version=4)
    printing, compared = form.count_compared(notebook)
    with capsys.disabled():
        print(
            f"\n{path.name}: {len(notebook.cells)} cells, {printing} code cells print, "
            f"nbval compares {compared} of them ({compared / printing:.0%})"
        )


def test_a_sound_notebook_has_no_findings() -> None:
    notebook = sound_notebook()
    nbformat.validate(notebook)
    assert {rule.__name__: rule(notebook) for rule in form.RULES} == {
        rule.__name__: [] for rule in form.RULES
    }


@pytest.mark.parametrize(("rule", "plant"), FAULTS.values(), ids=FAULTS.keys())
def test_a_planted_fault_is_found(rule: Callable[[NotebookNode], list[str]], plant: Plant) -> None:
    notebook = sound_notebook()
    plant(notebook)
    assert len(rule(notebook)) > 0


def test_every_rule_has_a_planted_fault() -> None:
    assert {rule for rule, _ in FAULTS.values()} == set(form.RULES)


def run_nbval(path: Path) -> subprocess.CompletedProcess[str]:
    """Run a notebook with the options that the test command takes from pyproject.toml."""
    options = ["-c", str(ROOT / "pyproject.toml"), "-p", "no:cacheprovider"]
    return subprocess.run(
        [sys.executable, "-m", "pytest", *options, str(path)],
        cwd=path.parent, capture_output=True, text=True, check=False,
    )  # fmt: skip


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> NotebookNode:
    """A notebook that prints a number, executed."""
    path = tmp_path_factory.mktemp("tiny") / "tiny.ipynb"
    nbformat.write(new_notebook(cells=[new_code_cell("print('accuracy', 0.97)")]), path)
    execute_notebooks.execute(path)
    return nbformat.read(path, as_version=4)


@pytest.mark.parametrize("stored", ["0.97", "0.98"], ids=["as it ran", "changed"])
def test_nbval_compares_every_number(tmp_path: Path, tiny: NotebookNode, stored: str) -> None:
    tiny.cells[0].outputs[0].text = f"accuracy {stored}\n"
    nbformat.write(tiny, tmp_path / "tiny.ipynb")
    result = run_nbval(tmp_path / "tiny.ipynb")
    if stored == "0.97":
        assert (result.returncode, "1 passed" in result.stdout) == (0, True), result.stdout
    else:
        assert (result.returncode, "mismatch 'stdout'" in result.stdout) == (1, True), result.stdout
