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
        states: the fingerprint of each target in the copy that runs; see `fingerprints`.
    """

    def __init__(self, path: Path, states: Mapping[str, str]) -> None:
        self.path = path
        self.states = states
        self._found: dict[tuple[str, str], Result] = {}
        for line in path.read_text(encoding="utf-8").splitlines() if path.exists() else []:
            record = json.loads(line)
            if record.pop("state") == states[record["target"]]:
                self._keep(Result(**record | {"failures": tuple(record["failures"])}))

    def add(self, result: Result) -> None:
        """Keep a result, in the file too."""
        self._keep(result)
        with self.path.open("a", encoding="utf-8") as file:
            record = {"state": self.states[result.target], **asdict(result)}
            file.write(json.dumps(record) + "\n")

    def get(self, condition: str, target: str) -> Result | None:
        """Return the newest result of a notebook or the tests under a condition."""
        return self._found.get((condition, target))

    def all(self) -> list[Result]:
        """Return the newest results of all that ran."""
        return list(self._found.values())

    def _keep(self, result: Result) -> None:
        self._found[result.condition, result.target] = result


def fingerprints(tree: Path) -> dict[str, str]:
    """Return a hash for each notebook and for the tests: results of another state do not count.

    A notebook depends on the helpers, on the packages, and on its own code and stored outputs. Its
    prose is not run. The tests depend on the tools too.
    """
    shared = {name: (tree / name).read_bytes() for name in SHARED if (tree / name).is_file()}
    helpers, *others = (_files(tree, folder) for folder in ("helpers", "tests", "tools"))
    found = {TESTS: _hash({**shared, **helpers, **others[0], **others[1]})}
    for number in NOTEBOOKS:
        cells = {path.name: _code(path) for path in (tree / "notebooks").glob(f"{number}_*.ipynb")}
        found[number] = _hash({**shared, **helpers, **cells})
    return found


SHARED = ("pyproject.toml", "requirements.txt")


def _files(tree: Path, folder: str) -> dict[str, bytes]:
    paths = (path for path in (tree / folder).rglob("*") if path.is_file())
    kept = (path for path in paths if "__pycache__" not in path.parts)
    return {str(path.relative_to(tree)): path.read_bytes() for path in kept}


def _code(path: Path) -> bytes:
    notebook = json.loads(path.read_text(encoding="utf-8"))
    cells = [cell for cell in notebook["cells"] if cell["cell_type"] == "code"]
    return json.dumps(cells, sort_keys=True).encode()


def _hash(contents: Mapping[str, bytes]) -> str:
    total = hashlib.sha256()
    for name in sorted(contents):
        total.update(name.encode() + b"\0" + contents[name] + b"\0")
    return total.hexdigest()


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
