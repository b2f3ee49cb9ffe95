"""What is known about each mutant, in a file that grows by one line at a time."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Literal, NamedTuple

Outcome = Literal["started", "killed", "survived", "timeout", "crash", "no tests", "unclean"]
"""How a mutant ended. "unclean": it was killed, but the test then failed without it too."""

DETECTED = ("killed", "timeout", "crash")


class Result(NamedTuple):
    """One line of the file: a mutant, how it ended, by which test, after how many seconds."""

    mutant: str
    outcome: Outcome
    test: str = ""
    seconds: float = 0.0


def append(path: Path, result: Result) -> None:
    """Add a line; the next process finds it whatever happens to this one."""
    with path.open("a") as file:
        file.write(json.dumps(result) + "\n")


def read(path: Path) -> dict[str, Result]:
    """Return the last line of each mutant, in the order of these lines."""
    known: dict[str, Result] = {}
    for line in path.read_text().splitlines() if path.exists() else []:
        result = Result(*json.loads(line))
        known.pop(result.mutant, None)
        known[result.mutant] = result
    return known


def pending(path: Path, mutants: list[str]) -> list[str]:
    """Return the mutants without a final outcome, those first that need a new process."""
    known = read(path)
    again = [name for name in mutants if name in known and known[name].outcome == "unclean"]
    new = [name for name in mutants if name not in known or known[name].outcome == "started"]
    return again + new


def note_crash(path: Path) -> None:
    """Give the mutant that was under test an outcome after its process has ended."""
    last = next(reversed(read(path).values()), None)
    if last is not None and last.outcome == "started":
        append(path, Result(last.mutant, "crash"))
