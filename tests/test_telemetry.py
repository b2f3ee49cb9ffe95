"""ONNX Runtime asks for no host and leaves nothing in the home folder, once helpers are imported.

Without the variable that helpers set, it does both: files while it is imported, names about nine
seconds later. All commands here run side by side, each in a network of its own.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import nbformat
import pytest
import yaml

import name_server
import needs
from conftest import ROOT, RunPython
from robust.conditions import Condition, no_namespaces
from robust.isolation import isolated
from tiny_onnx import write_dense

VARIABLE = "ORT_DISABLE_TELEMETRY"
LIVES_S = 20
INHERITED = ("PATH", "LANG", "LC_ALL", "LD_LIBRARY_PATH", "TMPDIR", "VIRTUAL_ENV")
NETWORK = Condition("a network of its own", read_only="repository", offline=True)
RUN = f"""
import sys, time
import numpy as np, onnxruntime
session = onnxruntime.InferenceSession(sys.argv[1], providers=["CPUExecutionProvider"])
session.run(None, {{"x": np.ones((2, 4), np.float32)}})
time.sleep({LIVES_S})
"""
COMMANDS = {
    "without helpers": ["-c", RUN],
    "with helpers": ["-c", f"import helpers\n{RUN}"],
    "the scorecard": ["-m", "helpers.scorecard", f"--budget={LIVES_S}"],
}


class Found(NamedTuple):
    names: list[str]
    files: list[str]


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Found]:
    """What each command asked for, and what it left in its home folder."""
    if no_namespaces():
        pytest.skip(needs.NAMESPACES)
    folder = tmp_path_factory.mktemp("telemetry")
    (folder / "closed").mkdir()
    (folder / "matplotlib").mkdir()
    model = write_dense(folder / "dense.onnx")
    # Little is inherited: under a CI, which it knows by variables, ONNX Runtime sends nothing.
    inherited = {name: os.environ[name] for name in INHERITED if name in os.environ}
    # Matplotlib keeps a list of fonts, and would do so in the home folder.
    inherited |= {"MPLCONFIGDIR": str(folder / "matplotlib"), "PYTHONPATH": str(ROOT)}
    running = {}
    for name, arguments in COMMANDS.items():
        home = folder / name
        home.mkdir()
        command = [sys.executable, name_server.__file__, sys.executable, *arguments, str(model)]
        process = subprocess.Popen(
            isolated(NETWORK, command, folder / "closed", home),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=inherited | {"HOME": str(home)},
        )
        running[name] = home, process
    results = {}
    for name, (home, process) in running.items():
        printed, errors = process.communicate(timeout=300)  # a busy machine is no failure
        assert process.returncode == 0, errors
        left = [str(path.relative_to(home)) for path in home.rglob("*")]
        results[name] = Found(printed.split(), left)
    return results


@needs.linux("which names a process asks for")
@pytest.mark.parametrize("name", list(COMMANDS)[1:])
def test_no_name_is_asked_for_and_the_home_folder_stays_empty(
    found: dict[str, Found], name: str
) -> None:
    assert found[name] == ([], [])


@needs.linux("which names a process asks for")
def test_without_the_variable_both_are_seen(found: dict[str, Found]) -> None:
    """The planted fault: the same program, alive for the same time."""
    names, files = found["without helpers"]
    assert names != []
    assert files != []


def test_a_process_that_helpers_start_inherits_the_variable(run_python: RunPython) -> None:
    source = f"""
import os
os.environ.pop({VARIABLE!r}, None)
from helpers.lessons.fresh_process import run_in_fresh_process
print(run_in_fresh_process("import os; print(os.environ[{VARIABLE!r}])"))
"""
    assert run_python(source).stdout == "1\n"


def test_who_wants_the_telemetry_keeps_it(run_python: RunPython) -> None:
    source = f"import os, sys; os.environ[{VARIABLE!r}] = '0'; import helpers; "
    assert run_python(f"{source} print(os.environ[{VARIABLE!r}])").stdout == "0\n"


def test_make_and_conda_set_the_variable_too(tmp_path: Path) -> None:
    (tmp_path / "show.mk").write_text(f"show:\n\t@echo value ${VARIABLE}\n".replace("$", "$$"))
    files = ["-f", str(ROOT / "Makefile"), "-f", str(tmp_path / "show.mk")]
    outside = {k: v for k, v in os.environ.items() if k != VARIABLE and "MAKE" not in k}
    run = subprocess.run(
        ["make", *files, "show"], env=outside, capture_output=True, text=True, check=True
    )
    assert "value 1\n" in run.stdout
    environment = yaml.safe_load((ROOT / "environment.yml").read_text(encoding="utf-8"))
    assert environment["variables"] == {VARIABLE: "1"}


def imports_helpers_first(source: str) -> bool:
    """Say whether the lines import something of helpers before they import ONNX Runtime."""
    after = source.partition("import onnxruntime")[0]
    return "from helpers" in after


@pytest.mark.parametrize("path", sorted((ROOT / "notebooks").glob("*.ipynb")), ids=lambda p: p.stem)
def test_a_notebook_imports_helpers_before_onnx_runtime(path: Path) -> None:
    cells = nbformat.read(path, as_version=4).cells
    code = [each.source for each in cells if each.cell_type == "code"]
    assert imports_helpers_first("\n".join(code))


def test_the_other_order_is_found() -> None:
    assert not imports_helpers_first("import onnxruntime\nfrom helpers import formats")
