"""A notebook open in JupyterLab, in a real browser: what a reader sees, and what is wrong there."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nbformat import NotebookNode

from lab import TOKEN, ask
from notebook_cells import tags

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

LOOK = Path(__file__).with_suffix(".js").read_text(encoding="utf-8")
SETTINGS = {
    # The theme follows the browser's colour scheme, which a test can change.
    "themes": {"adaptive-theme": True},
    # Both ask for addresses outside of this machine.
    "notification": {"fetchNews": "false", "checkForUpdates": False},
}
WIDTH, HEIGHT, HEIGHT_OF_PICTURES = 1280, 900, 1800
OPEN_MS, RUN_MS = 60_000, 600_000

ALL_ARE_THERE = "count => document.querySelectorAll('.jp-Notebook .jp-Cell').length === count"
KERNEL_IDLE = ".jp-Notebook-ExecutionIndicator[data-status='idle']"
# An error ends the run: the cells after it keep an empty prompt.
ALL_WERE_RUN = """() => {
  const prompts = [...document.querySelectorAll('.jp-CodeCell .jp-InputPrompt')]
    .map(prompt => prompt.innerText);
  return prompts.some(text => /\\d/.test(text)) && !prompts.some(text => text.includes('*'));
}"""
SCROLL = """async top => {
  const panel = document.querySelector('.jp-Notebook .jp-WindowedPanel-outer');
  panel.scrollTop = top;
  await new Promise(done => setTimeout(done, 200));
  return [panel.scrollTop + panel.clientHeight, panel.querySelector('.jp-WindowedPanel-inner')
    .scrollHeight];
}"""


def lab_options(folder: Path) -> list[str]:
    """Return the options of a JupyterLab that holds `folder/root`, and keeps all in `folder`.

    The reader's own settings have no part in it, and stay as they are.
    """
    settings = folder / "settings" / "@jupyterlab" / "apputils-extension"
    settings.mkdir(parents=True)
    for name, values in SETTINGS.items():
        (settings / f"{name}.jupyterlab-settings").write_text(json.dumps(values), encoding="utf-8")
    return [
        f"--ServerApp.root_dir={folder / 'root'}",
        f"--LabApp.user_settings_dir={folder / 'settings'}",
        f"--LabApp.workspaces_dir={folder / 'workspaces'}",
    ]


class LabPage:
    """A notebook, open in JupyterLab.

    Attributes:
        page: the browser's page.
        notebook: as it is stored.
    """

    def __init__(self, page: Page, notebook: NotebookNode) -> None:
        self.page = page
        self.notebook = notebook

    def findings(self, *, was_run: bool = False, patience_s: float = 15) -> list[str]:
        """Scroll to every cell, and list what a reader should not meet.

        Args:
            was_run: a frame is shown by a cell that was run here, and by no other.
            patience_s: look again for so long: a busy machine draws a page bit by bit.
        """
        self.page.wait_for_function(ALL_ARE_THERE, arg=len(self.notebook.cells))
        end = time.monotonic() + patience_s
        while found := self.look(was_run):
            if time.monotonic() > end:
                break
            time.sleep(0.5)
        return found

    def look(self, was_run: bool) -> list[str]:
        """List the findings of this moment."""
        seen = self.page.evaluate(LOOK)
        found = ["the notebook is wider than its panel"] if seen["wide"] else []
        for number, (cell, shown) in enumerate(
            zip(self.notebook.cells, seen["cells"], strict=True)
        ):
            found += [f"cell {number}: {text}" for text in compare(cell, shown, was_run)]
        return found

    def run_all(self) -> None:
        """Clear all outputs, then run all cells, both through the menu; wait for the kernel."""
        self.choose("Edit", "Clear Outputs of All Cells")
        self.choose("Run", "Run All Cells")
        self.page.wait_for_function(ALL_WERE_RUN, timeout=RUN_MS)
        self.page.wait_for_selector(KERNEL_IDLE, timeout=RUN_MS)

    def choose(self, menu: str, item: str) -> None:
        """Click an item of a menu."""
        self.page.locator(".lm-MenuBar-item", has_text=menu).click()
        self.page.locator(".lm-Menu-item").get_by_text(item, exact=True).click()

    def keep_screenshots(self, folder: Path, scheme: str) -> int:
        """Write what is on the screen, from top to bottom, in light or dark; return how many."""
        self.page.emulate_media(color_scheme=scheme)
        self.page.set_viewport_size({"width": WIDTH, "height": HEIGHT_OF_PICTURES})
        folder.mkdir(parents=True, exist_ok=True)
        for old in folder.glob(f"{scheme}-*.png"):
            old.unlink()
        self.page.evaluate(SCROLL, 0)
        count = bottom = 0
        height = 1
        while bottom < height:
            bottom, height = self.page.evaluate(SCROLL, bottom)
            self.page.screenshot(path=folder / f"{scheme}-{count:02d}.png")
            count += 1
        self.page.set_viewport_size({"width": WIDTH, "height": HEIGHT})
        return count


@contextmanager
def open_notebook(
    browser: Browser, port: int, path: str, notebook: NotebookNode
) -> Iterator[LabPage]:
    """Open a notebook as a reader does, and shut its kernel down in the end.

    Args:
        browser: a real one.
        port: of JupyterLab.
        path: of the notebook, below the server's folder.
        notebook: what is stored there.
    """
    context = browser.new_context(viewport={"width": WIDTH, "height": HEIGHT})
    context.set_default_timeout(OPEN_MS)
    page = context.new_page()
    try:
        page.goto(f"http://127.0.0.1:{port}/lab/tree/{path}?token={TOKEN}&reset")
        page.wait_for_selector(KERNEL_IDLE)
        yield LabPage(page, notebook)
    finally:
        context.close()
        for session in json.loads(ask(port, "/api/sessions")):
            ask(port, f"/api/sessions/{session['id']}", method="DELETE")


def compare(cell: NotebookNode, shown: dict[str, Any], was_run: bool) -> list[str]:
    """List in what a cell on the screen differs from what its author meant."""
    data = [output.get("data", {}) for output in cell.get("outputs", [])]
    pictures = sum(any(kind.startswith("image/") for kind in each) for each in data)
    # Of a notebook that was not run here, JupyterLab shows no frames: they could do harm.
    frames = sum("<iframe" in each.get("text/html", "") for each in data) if was_run else 0
    wanted = {
        "errors": int("raises-exception" in tags(cell)),
        "pictures in view": pictures,
        "frames in view": frames,
        "code is folded": "solution" in tags(cell),
    }
    found = {
        "errors": len(shown["errors"]),
        "pictures in view": sum(shown["pictures"]),
        "frames in view": sum(shown["frames"]),
        "code is folded": shown["folded"],
    }
    findings = [
        f"{name}: {found[name]}, wanted: {wanted[name]}"
        for name in wanted
        if found[name] != wanted[name]
    ]
    if found["errors"] > wanted["errors"]:
        findings += [f"it says: {text.splitlines()[-1]}" for text in shown["errors"]]
    findings += [f"dead link: {target}" for target in shown["dead_links"]]
    findings += [f"wider than the page: {name}" for name in shown["wide"]]
    answers = cell.source.count("<details>") if cell.cell_type == "markdown" else 0
    if shown["answers"] != [False] * answers:
        findings.append(f"answers open: {shown['answers']}, wanted: {answers} closed ones")
    return findings
