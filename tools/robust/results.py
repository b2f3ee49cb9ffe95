"""What was found, kept in a file as it comes, and the table of it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

import pandas as pd

from robust.conditions import NOTEBOOKS, TESTS, Condition


@dataclass(frozen=True)
class Result:
    """One notebook, or the tests, under one condition.

    Attributes:
        condition, target: the row and the column of the table.
        seconds: how long the command took.
        failures: a text for each failed cell or test; empty when all passed.
    """

    condition: str
    target: str
    seconds: float
    failures: tuple[str, ...]


class Results:
    """All results for one state of the repository, in a file that a later run goes on with.

    Args:
        path: a file with a line of JSON for each result, also those of other states.
        state: the fingerprint of the copy that runs; see `fingerprint`.
    """

    def __init__(self, path: Path, state: str) -> None:
        self.path = path
        self.state = state
        self._found: dict[tuple[str, str], Result] = {}
        for line in path.read_text(encoding="utf-8").splitlines() if path.exists() else []:
            record = json.loads(line)
            if record.pop("state") == state:
                self._keep(Result(**record | {"failures": tuple(record["failures"])}))

    def add(self, result: Result) -> None:
        """Keep a result, in the file too."""
        self._keep(result)
        with self.path.open("a", encoding="utf-8") as file:
            file.write(json.dumps({"state": self.state, **asdict(result)}) + "\n")

    def get(self, condition: str, target: str) -> Result | None:
        """Return the newest result of a notebook or the tests under a condition."""
        return self._found.get((condition, target))

    def all(self) -> list[Result]:
        """Return the newest results of all that ran."""
        return list(self._found.values())

    def _keep(self, result: Result) -> None:
        self._found[result.condition, result.target] = result


def fingerprint(tree: Path) -> str:
    """Return a hash of all files below a folder: results of another state do not count."""
    content = hashlib.sha256()
    for path in sorted(path for path in tree.rglob("*") if path.is_file()):
        content.update(str(path.relative_to(tree)).encode() + b"\0" + path.read_bytes() + b"\0")
    return content.hexdigest()


def to_frame(
    conditions: Iterable[Condition], results: Results, missing: Mapping[str, str]
) -> pd.DataFrame:
    """Return the table: a row for each condition, a column for each notebook and the tests.

    Args:
        conditions: the rows.
        results: what was found.
        missing: why a condition could not be tried, by its name.
    """
    rows = {}
    for condition in conditions:
        cells = {
            target: _cell(condition, target, results, missing) for target in (*NOTEBOOKS, TESTS)
        }
        rows[condition.name] = cells
    return pd.DataFrame.from_dict(rows, orient="index").rename_axis("condition")


def _cell(condition: Condition, target: str, results: Results, missing: Mapping[str, str]) -> str:
    if target not in condition.targets:
        return ""
    if condition.name in missing:
        return "not tried"
    result = results.get(condition.name, target)
    if result is None:
        return "not run yet"
    if result.failures:
        return f"FAILED {len(result.failures)}"
    return f"passed {result.seconds:.0f} s"
