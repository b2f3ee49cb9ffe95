"""What some tests need and a machine may lack: one reason for each, printed when a run ends.

A reason names what was not checked, why, and what to do. Under CI, where `.ci/run` installs all of
it, a skipped test makes the run fail (conftest.py).
"""

from __future__ import annotations

import sys

import pytest

CHROMIUM = "pages in a real browser, for there is no Chromium. Install it: apt install chromium"
NPM = "what pages load from the network, for there is no npm. Install it: apt install npm"
ENGINE = "files for the engine, for its environment is not made. Run: make scale SCALE_ARGS=--short"
NAMESPACES = "hosts and closed folders, for this user may make no namespace. Run the tests as root"
MAKE = "`make lab`, for this environment was not made by make. Run the tests with: make test"


def linux(what: str) -> pytest.MarkDecorator:
    """Skip a test where only Linux tells what it looks at."""
    reason = f"{what}, for only Linux tells it. Run the tests on Linux"
    return pytest.mark.skipif(sys.platform != "linux", reason=reason)
