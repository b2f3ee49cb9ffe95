"""A real browser for tests: Debian's Chromium, or any other, driven by Playwright."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

import needs

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Frame, Page

COMMANDS = ("chromium", "chromium-browser", "google-chrome")
ARGUMENTS = (
    "--disable-gpu",
    # Nothing but the page may ask for an address.
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-quic",
    "--disable-sync",
    "--no-first-run",
)

AXE_CORE = "axe-core@4.14.1"
"""The accessibility checker, as `npm_install` takes it."""


@contextmanager
def open_chromium() -> Iterator[Browser]:
    """Start the browser, and stop it. Keep this shorter than a test session.

    While Playwright runs it occupies the thread's event loop, which nbval's tests need.
    """
    from playwright import sync_api

    command = next(filter(None, map(shutil.which, COMMANDS)), None)
    if command is None:
        pytest.skip(needs.CHROMIUM)
    as_root = ["--no-sandbox"] if os.geteuid() == 0 else []
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=command, args=[*ARGUMENTS, *as_root])
        try:
            yield browser
        finally:
            browser.close()


def npm_install(folder: Path, *packages: str) -> Path:
    """Install packages of the npm registry, each as NAME@VERSION, and return their folder."""
    npm = shutil.which("npm")
    if npm is None:
        pytest.skip(needs.NPM)
    options = ["--no-audit", "--no-fund", "--ignore-scripts", "--prefer-offline"]
    result = subprocess.run(
        [npm, "install", *options, "--prefix", str(folder), *packages],
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert result.returncode == 0, result.stderr
    return folder / "node_modules"


def axe_violations(
    page: Page | Frame,
    packages: Path,
    exclude: tuple[str, ...] = (),
    skip_rules: tuple[str, ...] = (),
) -> list[str]:
    """Run axe-core on a page, and list each violated rule with the place of a violation.

    Args:
        page: a page, or a frame in one.
        packages: where `npm_install` put `AXE_CORE`.
        exclude: CSS selectors of parts that are not looked at.
        skip_rules: names of rules that are not applied.
    """
    page.evaluate((packages / "axe-core" / "axe.min.js").read_text(encoding="utf-8"))
    found = page.evaluate(
        "([exclude, rules]) => axe.run({exclude}, {rules}).then(found => found.violations)",
        [list(exclude), {rule: {"enabled": False} for rule in skip_rules}],
    )
    return [
        f"{rule['id']}: {node['html'][:100]} ({node['target']})"
        for rule in found
        for node in rule["nodes"]
    ]
