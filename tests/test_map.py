"""The map of the house: data flows one way."""

from __future__ import annotations

import ast
from graphlib import CycleError, TopologicalSorter

import pytest

from conftest import ROOT, RunPython
from helpers import ROOMS

HELPERS = ROOT / "helpers"
MODULES = {
    ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"): path
    for path in HELPERS.rglob("*.py")
}


def imported(source: str, known: set[str]) -> set[str]:
    """Return the modules of the house that a source imports, wherever in it the import stands."""
    found = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            names = [f"{node.module}.{alias.name}" for alias in node.names]
        else:
            continue
        for name in names:
            while name not in known and "." in name:
                name = name.rpartition(".")[0]
            found |= {name} & known - {"helpers"}
    return found


def arrows(sources: dict[str, str]) -> dict[str, set[str]]:
    return {name: imported(source, set(sources)) - {name} for name, source in sources.items()}


def arrows_that_run_up(graph: dict[str, set[str]]) -> list[str]:
    order = list(ROOMS)

    def room(name: str) -> int:
        return order.index(name.split(".")[1])

    return [
        f"{name} imports {target}"
        for name, targets in graph.items()
        for target in targets
        if name != "helpers" and room(target) > room(name)
    ]


SOURCES = {name: path.read_text() for name, path in MODULES.items()}


def test_every_room_is_on_the_map() -> None:
    assert {name.split(".")[1] for name in MODULES if name != "helpers"} == set(ROOMS)


def test_no_import_runs_up() -> None:
    assert arrows_that_run_up(arrows(SOURCES)) == []


def test_there_are_no_circles() -> None:
    TopologicalSorter(arrows(SOURCES)).prepare()


def test_an_arrow_that_runs_up_is_seen_wherever_it_stands() -> None:
    planted = "def f():\n    from helpers.scorecard import build\n"
    graph = arrows(SOURCES | {"helpers.formats.onnx": planted})
    assert arrows_that_run_up(graph) == ["helpers.formats.onnx imports helpers.scorecard.build"]


def test_a_circle_is_seen() -> None:
    planted = SOURCES | {"helpers.tables": "import helpers.progress"}
    planted["helpers.progress"] = "if TYPE_CHECKING:\n    from helpers import tables\n"
    with pytest.raises(CycleError):
        TopologicalSorter(arrows(planted)).prepare()


def test_a_process_that_measures_starts_with_the_standard_library_alone(
    run_python: RunPython,
) -> None:
    """What it imports before the framework of its artifact is part of every cold start."""
    result = run_python("import sys, helpers.costs.worker; print(*sys.modules)")
    heavy = {"numpy", "pandas", "keras", "tensorflow", "h5py"}
    assert heavy.isdisjoint(result.stdout.split())
