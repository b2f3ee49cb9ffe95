"""A pytest plugin that runs the tests on one mutant after another, in one process.

    python -m pytest -p mutants.loop tests/test_tensors.py

First every test runs once on the code as it is. Then each mutant meets the tests that reach its
function, the quickest first, until one fails. TensorFlow is imported, the models are trained and
the artifacts written only once: fixtures that tests share are made without a mutant.

A mutant counts as killed only when the same test passes again without it; else it has left
something behind, and is tried once more in a new process. After a timeout a new process starts too.
"""

from __future__ import annotations

import json
import os
import signal
import time
from collections import defaultdict
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from _pytest.runner import runtestprotocol

from helpers import mutant_switch
from helpers.costs.channel import die_with_parent
from mutants.results import Outcome, Result, append, pending

FOLDER = Path.cwd()
MUTANTS, TESTS, RESULTS = FOLDER / "mutants.json", FOLDER / "tests.json", FOLDER / "results.jsonl"
PATIENCE_S = 30.0
"""A test counts as hung after so long and twenty times as long as it takes without a mutant."""
LIMIT_S = float(os.environ.get("MUTANT_LIMIT_S", "inf"))
"""A mutant that is still alive after so long counts as survived, without the slower tests."""


class HangError(BaseException):
    """A test took too long. No `except Exception` of the code under test may stop it."""


def pytest_runtestloop(session: pytest.Session) -> bool:
    """Take over from pytest when the tests are collected."""
    die_with_parent()
    signal.signal(signal.SIGALRM, _raise_hang)
    loop = Loop(session)
    if not TESTS.exists():
        loop.run_without_mutants()
    loop.run_mutants(pending(RESULTS, json.loads(MUTANTS.read_text())))
    return True


@pytest.hookimpl(wrapper=True)
def pytest_fixture_setup(fixturedef: Any) -> Generator[None, object, object]:
    """Make what tests share without a mutant, or the next mutants would meet it."""
    if fixturedef.scope == "function":
        return (yield)
    with _active(""), _alarm(0.0):
        return (yield)


class Loop:
    """Runs collected tests again and again.

    Args:
        session: with the collected tests.
    """

    def __init__(self, session: pytest.Session) -> None:
        self.session = session
        self.tests = {item.nodeid: item for item in session.items}
        self.killers: defaultdict[str, set[str]] = defaultdict(set)

    def run_without_mutants(self) -> None:
        """Note how long each test takes and which functions it reaches."""
        seconds, reached = {}, defaultdict(list)
        for name in self.tests:
            mutant_switch.reached.clear()
            start = time.perf_counter()
            if (outcome := self.run(name, "", 600.0)) != "survived":
                raise pytest.UsageError(f"{name}: {outcome} without a mutant")
            seconds[name] = time.perf_counter() - start
            for function in mutant_switch.reached:
                reached[function].append(name)
            RESULTS.touch()
        TESTS.write_text(json.dumps({"seconds": seconds, "reached": reached}))

    def run_mutants(self, mutants: list[str]) -> None:
        """Judge the mutants in turn, as long as this process is sound."""
        stats = json.loads(TESTS.read_text())
        for number, mutant in enumerate(mutants):
            append(RESULTS, Result(mutant, "started"))
            start = time.perf_counter()
            outcome, test = self.judge(mutant, stats["reached"], stats["seconds"])
            sound = outcome != "timeout"
            if outcome == "killed" and self.run(test, "", 600.0) != "survived":
                sound = False
                outcome = "unclean" if number else "killed"  # in a new process it is to blame
            append(RESULTS, Result(mutant, outcome, test, round(time.perf_counter() - start, 2)))
            if not sound:
                return

    def judge(
        self, mutant: str, reached: dict[str, list[str]], seconds: dict[str, float]
    ) -> tuple[Outcome, str]:
        """Run the tests that reach the mutant's function; those first that killed its siblings."""
        function = mutant.partition("__mutmut_")[0]
        known = [name for name in reached.get(function, []) if name in self.tests]
        if not known:
            return "no tests", ""
        killers = self.killers[function]
        end = time.perf_counter() + LIMIT_S
        for name in sorted(known, key=lambda name: (name not in killers, seconds[name])):
            if time.perf_counter() > end:
                return "survived", "out of time"
            outcome = self.run(name, mutant, PATIENCE_S + 20 * seconds[name])
            if outcome != "survived":
                killers.add(name)
                return outcome, name
        return "survived", ""

    def run(self, name: str, mutant: str, patience_s: float) -> Outcome:
        """Run one test with fresh function fixtures, on a mutant or, with "", on the original."""
        item = self.tests[name]
        others = (each for each in self.tests.values() if each.parent is item.parent)
        sibling = next((each for each in others if each is not item), None)
        self.session._setupstate.teardown_exact(item)
        try:
            with _active(mutant), _alarm(patience_s):
                reports = runtestprotocol(item, log=False, nextitem=sibling)
        except HangError:
            return "timeout"
        failed = next((report for report in reports if report.failed), None)
        if failed is None:
            return "survived"
        if not mutant:
            print(f"\n{name}\n{failed.longreprtext}")
        return "timeout" if HangError.__name__ in failed.longreprtext else "killed"


@contextmanager
def _active(mutant: str) -> Iterator[None]:
    before = os.environ.get(mutant_switch.VARIABLE, "")
    os.environ[mutant_switch.VARIABLE] = mutant
    try:
        yield
    finally:
        os.environ[mutant_switch.VARIABLE] = before


@contextmanager
def _alarm(seconds: float) -> Iterator[None]:
    """Raise `HangError` after so many seconds, or never with 0; then go on with what was before."""
    before, _ = signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, before)


def _raise_hang(*_: object) -> None:
    raise HangError
