"""The lessons as a page to read: axe-core finds nothing in their content that keeps a reader out.

nbconvert writes the page. What comes from its template, or from Keras, the lessons cannot mend:

- the grey prompts beside the cells (`In [1]:`), which carry no content;
- the colours of the code, a Pygments style that is part of the template;
- links in a text without a line below them;
- the colours of `model.summary()`, which Keras prints with Rich: no option of either turns them off
  in a notebook (`print_fn` and `NO_COLOR` do not);
- no alternative text: the template leaves it out, and nbconvert fills the gap with words of its
  own. nbconvert's other template, "classic", uses it, so that one is asked for it.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import nbformat
import pytest
from bs4 import BeautifulSoup
from nbconvert import HTMLExporter
from nbformat import NotebookNode
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output

from chromium import AXE_CORE, axe_violations, npm_install, open_chromium
from notebook_cells import cells_of

NOTEBOOKS = sorted((Path(__file__).resolve().parents[1] / "notebooks").glob("*.ipynb"))
PROMPTS = (".jp-InputPrompt", ".jp-OutputPrompt")
CODE_COLOURS = (".highlight",)
SUMMARY_COLOURS = ("pre span[style*='text-decoration-color']",)  # Rich writes both, nobody else
LINK_STYLE = ("link-in-text-block",)
NOT_OURS = PROMPTS + CODE_COLOURS + SUMMARY_COLOURS
PATIENCE_MS = 120_000

Check = Callable[[str, NotebookNode], list[str]]


@pytest.fixture(scope="module")
def check() -> Iterator[Check]:
    """Write a notebook as a page, open it without a network, and list the violations."""
    with tempfile.TemporaryDirectory() as folder:
        packages = npm_install(Path(folder), AXE_CORE)
        with open_chromium() as browser:
            page = browser.new_page(viewport={"width": 1280, "height": 900})
            page.set_default_timeout(PATIENCE_MS)
            page.route("http*://**", lambda route: route.abort())

            def check(title: str, notebook: NotebookNode) -> list[str]:
                html, _ = HTMLExporter().from_notebook_node(notebook, {"metadata": {"name": title}})
                path = Path(folder) / f"{title}.html"
                path.write_text(html, encoding="utf-8")
                page.goto(path.as_uri())
                return axe_violations(page, packages, NOT_OURS, LINK_STYLE)

            yield check


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.name)
def test_the_content_is_accessible(path: Path, check: Check) -> None:
    assert check(path.stem, nbformat.read(path, as_version=4)) == []


def test_what_keeps_a_reader_out_is_found(check: Check) -> None:
    faulty = new_notebook(
        cells=[
            new_markdown_cell("# Learn\n\n#### Far down"),
            new_markdown_cell("<span style='color: #bbbbbb'>These words are too pale.</span>"),
            new_markdown_cell("[](https://example.org/)"),
            new_markdown_cell("| | how |\n|---|---|\n| a | b |"),
        ]
    )
    rules = {finding.partition(":")[0] for finding in check("faulty", faulty)}
    assert rules == {"color-contrast", "empty-table-header", "heading-order", "link-name"}


def alternative_texts(notebook: NotebookNode) -> list[str]:
    """List the alternative texts of the images on the page."""
    html, _ = HTMLExporter(template_name="classic").from_notebook_node(notebook)
    return [image["alt"] for image in BeautifulSoup(html, "html.parser").select("img")]


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.name)
def test_every_image_says_what_it_shows(path: Path) -> None:
    notebook = nbformat.read(path, as_version=4)
    outputs = [output for cell in cells_of(notebook, "code") for output in cell.outputs]
    plain = [
        output.data["text/plain"] for output in outputs if "image/png" in output.get("data", {})
    ]
    assert len(plain) > 0
    assert [f"Figure: {text}" for text in alternative_texts(notebook)] == plain


def test_an_image_that_says_nothing_is_found() -> None:
    shown = new_output("display_data", {"image/png": "iVBORw0KGgo"})
    notebook = new_notebook(cells=[new_code_cell("draw()", outputs=[shown])])
    assert alternative_texts(notebook) == ["No description has been provided for this image"]
