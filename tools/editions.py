"""Make the classroom's editions of the notebooks: ``make student`` and ``make slides``.

Both leave the solutions out and write to the folder ``build``, which git ignores.

- The student edition is a notebook without any outputs: what learners see, they ran themselves.
- A deck is one HTML file for each lesson, outputs included. It loads reveal.js from the network.
  For a room without a network: ``npm pack reveal.js``, unpack it, and name the folder with
  ``--reveal``, as seen from ``build/slides``.
"""

from __future__ import annotations

import argparse
import sys
from copy import deepcopy
from pathlib import Path

import nbformat
from jinja2 import FileSystemLoader
from nbconvert.exporters import SlidesExporter
from nbconvert.preprocessors import ClearOutputPreprocessor, TagRemovePreprocessor
from nbformat import NotebookNode

from slides import lay_out

ROOT = Path(__file__).resolve().parents[1]
REVEAL_URL = "https://cdn.jsdelivr.net/npm/reveal.js@5.2.1"


def without_solutions(notebook: NotebookNode) -> NotebookNode:
    """Return a copy without the cells that are tagged as solutions."""
    remover = TagRemovePreprocessor(remove_cell_tags={"solution"}, enabled=True)
    kept, _ = remover(deepcopy(notebook), {})  # it changes what it is given
    return kept


def student_edition(notebook: NotebookNode) -> NotebookNode:
    """Return a copy without solutions and without outputs."""
    cleared, _ = ClearOutputPreprocessor(enabled=True)(without_solutions(notebook), {})
    return cleared


def deck(notebook: NotebookNode, title: str, reveal_url: str = REVEAL_URL) -> str:
    """Return the slides of a notebook as HTML, without the solutions.

    Args:
        notebook: with its outputs.
        title: what the browser's tab says.
        reveal_url: where reveal.js is: an address, or a folder beside the deck.
    """
    exporter = SlidesExporter(
        extra_loaders=[FileSystemLoader(Path(__file__).parent)],
        template_file="deck.html.j2",
        reveal_url_prefix=reveal_url,
        reveal_theme="white",
        exclude_input_prompt=True,
        exclude_output_prompt=True,
    )
    slides = lay_out(without_solutions(notebook))
    html, _ = exporter.from_notebook_node(slides, {"metadata": {"name": title}})
    return html


def main(arguments: list[str] | None = None) -> int:
    """Write the edition that is asked for, of the notebooks that are named, or of all of them."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("edition", choices=["student", "slides"])
    parser.add_argument("notebooks", nargs="*", type=Path, help="all of them when none is named")
    parser.add_argument("--reveal", default=REVEAL_URL, help="address or folder (%(default)s)")
    parser.add_argument("--build", type=Path, default=ROOT / "build", help="(%(default)s)")
    options = parser.parse_intermixed_args(arguments)  # make puts options before names
    paths = options.notebooks or sorted((ROOT / "notebooks").glob("*.ipynb"))
    if missing := [str(path) for path in paths if not path.is_file()]:
        parser.error(f"no such notebook: {', '.join(missing)}")
    folder = options.build / options.edition
    folder.mkdir(parents=True, exist_ok=True)
    for path in paths:
        notebook = nbformat.read(path, as_version=4)
        if options.edition == "student":
            written = folder / path.name
            nbformat.write(student_edition(notebook), written)
        else:
            written = folder / f"{path.stem}.html"
            written.write_text(deck(notebook, path.stem, options.reveal), encoding="utf-8")
        print(f"{path.name}: written to {written}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
