"""The classroom's editions: without solutions, and slides that fit the screen."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import nbformat
import pytest
from bs4 import BeautifulSoup
from IPython.core.inputtransformer2 import TransformerManager
from nbformat import NotebookNode
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output

import editions
import execute_notebooks
import notebook_sections
import slides
from chromium import npm_install, open_chromium
from notebook_cells import cells_of, tags

ROOT = Path(__file__).resolve().parents[1]
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
QUIZ = "**1.** Why?\n\n<details>\n<summary>Answer</summary>\n\nBecause.\n\n</details>"


def lesson(*, needs_solution: bool = False) -> NotebookNode:
    """Build a small lesson with an exercise in its middle."""
    answer = new_output("execute_result", {"text/plain": "Passed: 42."})
    solution = new_code_cell("def answer():\n    return 42\n\n\nsecret = answer()")
    solution.metadata["tags"] = ["solution"]
    solution.outputs = [answer]
    return new_notebook(
        cells=[
            new_markdown_cell("# Learn a thing\n\nWords.\n\n## 1. Do it\n\nRead."),
            new_code_cell("%matplotlib inline\nprint('hello')"),
            new_markdown_cell(f"### Questions\n\n{QUIZ}\n\n### Exercise 1: answer"),
            new_code_cell("def answer():\n    return None\n\n\nprint(answer())"),
            solution,
            new_code_cell("print(secret)" if needs_solution else "print(answer())"),
        ]
    )


def without_solutions(notebook: NotebookNode) -> list[NotebookNode]:
    return [cell for cell in notebook.cells if "solution" not in tags(cell)]


# The student edition


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.name)
def test_the_student_edition_keeps_all_but_solutions_and_outputs(path: Path) -> None:
    full = nbformat.read(path, as_version=4)
    student = editions.student_edition(full)
    nbformat.validate(student)
    kept = without_solutions(full)
    assert len(kept) < len(full.cells)
    assert [cell.source for cell in student.cells] == [cell.source for cell in kept]
    assert all(not cell.outputs for cell in cells_of(student, "code"))
    assert student.metadata.kernelspec == full.metadata.kernelspec


def names(cells: list[NotebookNode], context: type[ast.expr_context]) -> set[str]:
    """List the names that cells bind (Store), or use (Load)."""
    found: set[str] = set()
    for cell in cells:
        for node in ast.walk(ast.parse(TransformerManager().transform_cell(cell.source))):
            if isinstance(node, ast.Name) and isinstance(node.ctx, context):
                found.add(node.id)
            elif context is ast.Store and isinstance(node, ast.FunctionDef | ast.ClassDef):
                found.add(node.name)
            elif context is ast.Store and isinstance(node, ast.alias):
                found.add((node.asname or node.name).partition(".")[0])
    return found


def needed_from_solutions(notebook: NotebookNode) -> set[str]:
    """List the names that only a solution binds, and that another cell uses."""
    solutions = [cell for cell in notebook.cells if "solution" in tags(cell)]
    others = [cell for cell in without_solutions(notebook) if cell.cell_type == "code"]
    only = names(solutions, ast.Store) - names(others, ast.Store)
    return only & names(others, ast.Load)


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.name)
def test_no_cell_needs_a_solution(path: Path) -> None:
    assert needed_from_solutions(nbformat.read(path, as_version=4)) == set()


def test_a_cell_that_needs_a_solution_is_found() -> None:
    assert needed_from_solutions(lesson()) == set()
    assert needed_from_solutions(lesson(needs_solution=True)) == {"secret"}


def test_the_student_edition_runs(tmp_path: Path) -> None:
    path = tmp_path / "lesson.ipynb"
    nbformat.write(lesson(), path)
    assert editions.main(["student", "--build", str(tmp_path / "build"), str(path)]) == 0
    written = tmp_path / "build" / "student" / "lesson.ipynb"
    execute_notebooks.execute(written)
    outputs = [cell.outputs[0].text for cell in cells_of(nbformat.read(written, 4), "code")]
    assert outputs == ["hello\n", "None\n", "None\n"]


def test_a_name_that_does_not_exist_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SystemExit) as refusal:
        editions.main(["slides", str(tmp_path / "none.ipynb"), "--build", str(tmp_path)])
    assert refusal.value.code == 2
    assert list(tmp_path.iterdir()) == []


# The slides


def kinds(notebook: NotebookNode) -> list[tuple[str, str]]:
    """List the kind and the first line of each piece of a deck."""
    return [
        (cell.metadata.slideshow.slide_type, cell.source.partition("\n")[0])
        for cell in slides.lay_out(notebook).cells
    ]


def test_headings_open_slides_and_code_follows_the_prose() -> None:
    assert kinds(lesson())[:5] == [
        ("slide", "# Learn a thing"),
        ("slide", "## 1. Do it"),
        ("fragment", "%matplotlib inline"),
        ("subslide", "### Questions"),
        ("subslide", "### Exercise 1: answer"),
    ]


def test_what_does_not_fit_goes_to_the_next_slide() -> None:
    long = "\n".join(f"line_{number} = {number}" for number in range(22))
    cell = new_code_cell(long, outputs=[new_output("stream", text="one\n" * 9)])
    pictures = [new_output("display_data", {"image/png": "iVBORw0KGgo"})] * 2
    notebook = new_notebook(
        cells=[
            new_markdown_cell("A word. " * 60 + "\n\n**You will learn**\n\n" + "A word. " * 60),
            cell,
            new_code_cell("draw()", outputs=pictures),
        ]
    )
    assert kinds(notebook) == [
        ("subslide", "A word. " * 60),
        ("subslide", "**You will learn**"),
        ("subslide", "line_0 = 0"),
        ("subslide", "line_0 = 0"),
        ("fragment", "draw()"),
        ("subslide", "draw()"),
        ("subslide", "draw()"),
    ]


def test_a_long_table_is_cut_and_keeps_its_head() -> None:
    head = "| message | cause |\n|---|---|"
    rows = [f"| `error {number}` | cause |" for number in range(30)]
    pieces = list(slides.blocks("\n".join([head, *rows])))
    assert len(pieces) > 1
    assert all(piece.startswith(head) for piece in pieces)
    assert [row for piece in pieces for row in piece.splitlines()[2:]] == rows


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.name)
def test_no_line_is_lost_on_the_way(path: Path) -> None:
    full = editions.without_solutions(nbformat.read(path, as_version=4))
    shown = slides.lay_out(full)
    nbformat.validate(shown)
    for kind in ["markdown", "code"]:
        lines = {line for cell in cells_of(shown, kind) for line in cell.source.splitlines()}
        assert {line for cell in cells_of(full, kind) for line in cell.source.splitlines()} <= (
            lines | {""}
        )
    outputs = [output for cell in cells_of(full, "code") for output in cell.outputs]
    assert [output for cell in cells_of(shown, "code") for output in cell.outputs] == outputs


def test_a_deck_loads_nothing_but_reveal() -> None:
    html = editions.deck(lesson(), "lesson")
    loaded = re.findall(r"<(?:script|link)[^>]+(?:src|href)=\"([^\"]+)\"", html)
    assert {address.removeprefix(editions.REVEAL_URL) for address in loaded} == {
        "/dist/reveal.css",
        "/dist/theme/white.css",
        "/dist/reveal.js",
    }
    assert "secret" not in html
    assert "<title>lesson slides</title>" in html


def test_a_deck_says_what_its_pictures_show() -> None:
    alt = 'A "rising" line & a flat one'
    shown = new_output(
        "display_data", {"image/png": "iVBORw0KGgo"}, metadata={"image/png": {"alt": alt}}
    )
    notebook = new_notebook(cells=[new_code_cell("draw()", outputs=[shown])])
    (image,) = BeautifulSoup(editions.deck(notebook, "lesson"), "html.parser").select("img")
    assert image["alt"] == alt


MEASURE = """() => [...document.querySelectorAll('.slides > section > section')].map(slide => {
  const {h, v} = Reveal.getIndices(slide);
  Reveal.slide(h, v);
  slide.querySelectorAll('.fragment').forEach(part => part.classList.add('visible'));
  slide.querySelectorAll('details').forEach(answer => answer.open = true);
  const mayScroll = part => part.closest('.jp-OutputArea');
  const cut = part => part.scrollWidth > part.clientWidth + 1
    && getComputedStyle(part).overflowX !== 'visible' && !mayScroll(part);
  return {
    name: `${h + 1}.${v + 1}: ${slide.innerText.slice(0, 40)}`,
    height: slide.scrollHeight,
    width: slide.scrollWidth,
    cut: [...slide.querySelectorAll('*')].filter(cut).length,
  };
})"""


def measure(decks: dict[str, Path]) -> dict[str, list[dict]]:
    """Show every slide of every deck on a screen of 1280 x 720, all answers opened."""
    found = {}
    with open_chromium() as browser:
        page = browser.new_page(viewport={"width": 1280, "height": 720})
        for name, path in decks.items():
            page.goto(path.as_uri())
            page.wait_for_function("window.Reveal && Reveal.isReady()")
            found[name] = page.evaluate(MEASURE)
    return found


def too_large(found: list[dict]) -> list[str]:
    return [
        f"{slide['name']!r}: {slide['width']} x {slide['height']}, {slide['cut']} parts cut off"
        for slide in found
        if slide["height"] > 720 or slide["width"] > 1280 or slide["cut"]
    ]


@pytest.fixture(scope="module")
def measured(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[dict]]:
    """The slides of all lessons, and of a deck with a tall, a wide and a sound slide."""
    folder = tmp_path_factory.mktemp("decks")
    reveal = npm_install(folder, f"reveal.js@{editions.REVEAL_URL.rpartition('@')[2]}")
    notebooks = {path.name: nbformat.read(path, as_version=4) for path in NOTEBOOKS}
    notebooks["planted"] = new_notebook(
        cells=[
            new_markdown_cell("# Fits"),
            new_markdown_cell("# Tall\n\n" + "One word. " * 200),
            new_markdown_cell("# Wide\n\n<div style='width: 1500px'>wide</div>"),
        ]
    )
    decks = {}
    for name, notebook in notebooks.items():
        decks[name] = folder / f"{name}.html"
        html = editions.deck(notebook, name, (reveal / "reveal.js").as_uri())
        decks[name].write_text(html, encoding="utf-8")
    return measure(decks)


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.name)
def test_every_slide_fits_the_screen(path: Path, measured: dict[str, list[dict]]) -> None:
    assert len(measured[path.name]) > 50
    assert too_large(measured[path.name]) == []


def test_a_slide_that_does_not_fit_is_found(measured: dict[str, list[dict]]) -> None:
    assert [line[:9] for line in too_large(measured["planted"])] == ["'2.1: Tal", "'3.1: Wid"]


# The teacher's plan

TEACHING = (ROOT / "notebooks" / "TEACHING.md").read_text(encoding="utf-8")


def planned_minutes(lesson_number: str) -> dict[str, int]:
    """Read the minutes by section that TEACHING.md plans for a lesson."""
    (plan,) = re.findall(rf"^## Lesson {lesson_number}:.*?(?=^## )", TEACHING, re.M | re.S)
    rows = re.findall(r"^\| ([^|]+) \| (\d+) \|", plan, re.MULTILINE)
    return {title: int(minutes) for title, minutes in rows}


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.name)
def test_the_plan_has_the_minutes_of_every_section(path: Path) -> None:
    sections = notebook_sections.read_sections(nbformat.read(path, as_version=4))
    plan = planned_minutes(path.name[:2].lstrip("0"))
    assert list(plan) == [each.title for each in sections]
    wrong = {
        each.title: f"planned {plan[each.title]}, `make numbers` says {each.minutes:.1f}"
        for each in sections
        if abs(plan[each.title] - each.minutes) > 1
    }
    assert wrong == {}
    number, total = int(path.name[:2]), sum(each.minutes for each in sections)
    (planned,) = re.findall(rf"^\| {number} \| [^|]+ \| (\d+) \|", TEACHING, re.MULTILINE)
    assert abs(int(planned) - total) <= 1, f"lesson {number}: planned {planned}, now {total:.1f}"
