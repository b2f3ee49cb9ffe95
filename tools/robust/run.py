"""Run one thing under one condition: a notebook strictly, or the tests that use trained models."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import tempfile
import time
import xml.etree.ElementTree as ElementTree
from collections import defaultdict
from contextlib import ExitStack, suppress
from pathlib import Path

from notebook_runs import one_core
from robust.conditions import NOTEBOOKS, SAMPLE, TESTS, Condition
from robust.isolation import busy_cores, environment_of, isolated
from robust.results import Result

TIMEOUT_S = 1800.0
ABOUT_COSTS = ("test_browser", "test_cold_start", "test_latency", "test_scorecard")
"""Tests of pages and of times: they use a trained model as any file."""


class Runner:
    """Runs commands in a copy of the repository, and ends what still runs when it is stopped.

    Args:
        tree: the copy of the repository.
        python: the interpreter of its environment.
        seed: decides the order of notebooks that run together.
    """

    def __init__(self, tree: Path, python: str = sys.executable, seed: int = 0) -> None:
        self.tree = tree
        self.python = python
        self.seed = seed
        self._running: set[subprocess.Popen[str]] = set()
        self._stopped = False

    def run(self, condition: Condition, target: str) -> list[Result]:
        """Run a target under a condition.

        Args:
            condition: the row of the matrix.
            target: a notebook by its number, several separated by spaces, `TESTS` or `SAMPLE`.

        Returns:
            One result for each notebook that ran, or one for the tests.
        """
        with tempfile.TemporaryDirectory() as scratch, ExitStack() as stack:
            report, home = Path(scratch) / "report.xml", Path(scratch) / "home"
            home.mkdir()
            command = [self.python, "-m", "pytest", "-p", "no:cacheprovider", "--quiet"]
            command += [f"--junitxml={report}", *self._selection(target)]
            if condition.busy:
                stack.enter_context(busy_cores())
            if condition.one_core:
                stack.enter_context(one_core())
            start = time.perf_counter()
            status, output = self._run_group(
                isolated(condition, command, self.tree, home),
                environment_of(condition, self.tree, home),
            )
            seconds = time.perf_counter() - start
            failures = read_failures(report) if report.exists() else {}
        results = []
        for name in target.split():
            found = failures.get(TESTS if name == SAMPLE else name)
            if found is None:  # no report, or nothing of this target in it: it did not run
                found = [f"exit status {status}: {output[-300:].strip()}"]
            results.append(Result(condition.name, name, seconds, tuple(found)))
        return results

    def stop(self) -> None:
        """End all that runs, with all that it started."""
        self._stopped = True
        for process in list(self._running):
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)

    def _selection(self, target: str) -> list[str]:
        if target == TESTS:
            left_out = " and ".join(f"not {name}" for name in ABOUT_COSTS)
            return ["tests", "-m", "trained", "-k", left_out]
        if target == SAMPLE:
            files = ["tests/test_parity.py", "tests/test_compare_layers.py"]
            return [*files, "-m", "trained", "-k", "not deep and not depth and not million"]
        paths = [str(next((self.tree / "notebooks").glob(f"{n}_*"))) for n in target.split()]
        if len(paths) > 1:
            random.Random(self.seed).shuffle(paths)
            return [*paths, "--numprocesses", "2", "--dist", "loadfile"]
        return paths

    def _run_group(self, command: list[str], environment: dict[str, str]) -> tuple[int, str]:
        """Run a command in a process group of its own, and end the whole group in any case."""
        process = subprocess.Popen(
            command, cwd=self.tree, env=environment, text=True, errors="replace",
            start_new_session=True, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )  # fmt: skip
        self._running.add(process)
        try:
            output, _ = process.communicate(timeout=0 if self._stopped else TIMEOUT_S)
        except subprocess.TimeoutExpired:
            output = f"it was stopped after {TIMEOUT_S:.0f} s"
        finally:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            self._running.discard(process)
        return process.wait(), output


def read_failures(report: Path) -> dict[str, list[str]]:
    """Read a JUnit report: the failures of each notebook that ran, and of the tests, by name."""
    failures: dict[str, list[str]] = defaultdict(list)
    for case in ElementTree.parse(report).getroot().iter("testcase"):
        place = case.get("classname", "")
        number = next((n for n in NOTEBOOKS if f"notebooks/{n}_" in place.replace(".", "/")), TESTS)
        found = failures[number]
        for kind in ("failure", "error"):
            for fault in case.iter(kind):
                words = " ".join((fault.text or fault.get("message") or "").split())
                found.append(f"{place}::{case.get('name')}: {words[:500]}")
    return dict(failures)
