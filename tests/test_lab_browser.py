"""The lessons in JupyterLab, in a real browser, as a reader and a learner meet them.

`make test` opens each lesson with its stored outputs, and runs a small notebook through the menu.
`make browser` also runs all cells of each lesson there, which takes more than a minute for each,
and keeps screenshots.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import nbformat
import pytest
from nbformat import NotebookNode
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output

from chromium import open_chromium
from execute_notebooks import KERNELSPEC
from lab import ROOT, start_lab
from lab_page import lab_options, open_notebook

if TYPE_CHECKING:
    from playwright.sync_api import Browser

NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
SCREENSHOTS = ROOT / "build" / "screenshots"

PIXELS = (
    "iVBORw0KGgoAAAANSUhEUgAAAAgAAAAICAIAAABLbSncAAAAEUlEQVR42mPgFzbAihgGSgIAV80K"
    "4XdYO3cAAAAASUVORK5CYII="
)
DRAW = f"""from base64 import b64decode
from IPython.display import Image
Image(b64decode('{PIXELS[:76]}'
                '{PIXELS[76:]}'))"""
LINKS = "[here](#Do-it), [this notebook](sound.ipynb), [elsewhere](https://example.org/)"
ANSWER = "<details>\n<summary>Answer</summary>\n\n{}\n\n</details>"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What JupyterLab serves: a copy of the lessons, and the notebooks below."""
    folder = tmp_path_factory.mktemp("lab")
    (folder / "root").mkdir()
    shutil.copytree(ROOT / "notebooks", folder / "root" / "notebooks")
    for name, notebook in {"sound": sound(), "faulty": faulty(), "runs": fails_when_run()}.items():
        nbformat.write(notebook, folder / "root" / f"{name}.ipynb")
    return folder


@pytest.fixture(scope="module")
def port(folder: Path) -> Iterator[int]:
    with start_lab(*lab_options(folder)) as port:
        yield port


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with open_chromium() as browser:
        yield browser


def picture() -> NotebookNode:
    return new_output("execute_result", {"image/png": PIXELS, "text/plain": "Figure"})


def failure() -> NotebookNode:
    return new_output("error", ename="ValueError", evalue="no", traceback=["ValueError: no"])


def tagged(cell: NotebookNode, tag: str) -> NotebookNode:
    cell.metadata["tags"] = [tag]
    return cell


def sound() -> NotebookNode:
    """Build a notebook in which all is well, also after a run."""
    page = "from IPython.display import HTML\nHTML('Look:<iframe srcdoc=hello></iframe>')"
    shown = new_output("execute_result", {"text/html": "Look:<iframe srcdoc=hello></iframe>"})
    solution = new_code_cell("print(42)", outputs=[new_output("stream", text="42\n")])
    solution.metadata["jupyter"] = {"source_hidden": True}
    cells = [
        new_markdown_cell(f"# Learn\n\n{LINKS}\n\n## Do it"),
        new_code_cell(DRAW, outputs=[picture()]),
        tagged(new_code_cell("raise ValueError('no')", outputs=[failure()]), "raises-exception"),
        new_code_cell(page, outputs=[shown]),
        new_markdown_cell(ANSWER.format("Yes.")),
        tagged(solution, "solution"),
    ]
    return new_notebook(cells=cells, metadata={"kernelspec": KERNELSPEC})


def faulty() -> NotebookNode:
    """Build a notebook with a fault in each cell, all of them in what is stored."""
    stderr = new_output("stream", name="stderr", text="careful")
    broken = new_output("execute_result", {"image/png": "bm8gcGljdHVyZQ==", "text/plain": "F"})
    cells = [
        new_code_cell("fail()", outputs=[failure()]),
        tagged(new_code_cell("fail()"), "raises-exception"),
        new_code_cell("warn()", outputs=[stderr]),
        new_code_cell("draw()", outputs=[broken]),
        tagged(new_code_cell("print(42)"), "solution"),
        new_markdown_cell(ANSWER.format("Yes.").replace("<details>", "<details open>")),
        new_markdown_cell("[nowhere](no_such_lesson.ipynb)"),
        new_markdown_cell("# One\n\n[nowhere](#Two)"),
        new_markdown_cell("| wide |\n|---|\n| " + "x" * 400 + " |"),
        new_code_cell("x = '" + "x" * 400 + "'"),
    ]
    return new_notebook(cells=cells, metadata={"kernelspec": KERNELSPEC})


FAULTS = [
    "cell 0: errors: 1, wanted: 0",
    "cell 1: errors: 0, wanted: 1",
    "cell 2: it says: careful",
    "cell 3: pictures in view: 0, wanted: 1",
    "cell 4: code is folded: False, wanted: True",
    "cell 5: answers open",
    "cell 6: dead link: ",
    "cell 7: dead link: ",
    "cell 8: wider than the page: ",
    "cell 9: wider than the page: ",
]


def fails_when_run() -> NotebookNode:
    """Build a notebook whose stored outputs are fine, and whose second cell fails."""
    notebook = sound()
    notebook.cells[1].source = "print('no picture')"
    notebook.cells[3].source = "raise KeyError('not meant')"
    return notebook


def test_a_sound_notebook_has_no_findings(browser: Browser, port: int) -> None:
    with open_notebook(browser, port, "sound.ipynb", sound()) as opened:
        assert opened.findings() == []
        opened.run_all()
        assert opened.findings(was_run=True) == []


def test_every_fault_is_found(browser: Browser, port: int) -> None:
    with open_notebook(browser, port, "faulty.ipynb", faulty()) as opened:
        findings = opened.findings(patience_s=3)
    assert [text for text in FAULTS if not any(each.startswith(text) for each in findings)] == []
    assert {text.split(":")[0] for text in findings} == {text.split(":")[0] for text in FAULTS}


def test_a_cell_that_fails_when_it_is_run_is_found(browser: Browser, port: int) -> None:
    with open_notebook(browser, port, "runs.ipynb", fails_when_run()) as opened:
        assert opened.findings() == []
        opened.run_all()
        findings = opened.findings(was_run=True, patience_s=3)
    assert findings == [
        "cell 1: pictures in view: 0, wanted: 1",
        "cell 3: errors: 1, wanted: 0",
        "cell 3: frames in view: 0, wanted: 1",
        "cell 3: it says: KeyError: 'not meant'",
    ]


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.name)
def test_a_lesson_is_read_without_running_it(
    path: Path, folder: Path, browser: Browser, port: int
) -> None:
    notebook = nbformat.read(folder / "root" / "notebooks" / path.name, as_version=4)
    with open_notebook(browser, port, f"notebooks/{path.name}", notebook) as opened:
        findings = opened.findings()
    assert findings == [], "\n".join(findings)


@pytest.mark.every_cell
@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.name)
def test_a_lesson_runs_in_the_browser(
    path: Path, folder: Path, browser: Browser, port: int
) -> None:
    notebook = nbformat.read(folder / "root" / "notebooks" / path.name, as_version=4)
    with open_notebook(browser, port, f"notebooks/{path.name}", notebook) as opened:
        opened.run_all()
        findings = opened.findings(was_run=True)
        for scheme in ("light", "dark"):
            assert opened.keep_screenshots(SCREENSHOTS / path.stem, scheme) > 1
    assert findings == [], "\n".join(findings)
