"""The matrix of `make robust`: its conditions are real, its table is true, a sample of it runs."""

from __future__ import annotations

import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_notebook

import execute_notebooks
import needs
from conftest import ROOT
from helpers.lessons import SEED_SHIFT, shifted
from robust import __main__ as robust
from robust.conditions import (
    CONDITIONS,
    NOTEBOOKS,
    SAMPLE,
    TESTS,
    Condition,
    no_instructions,
    no_namespaces,
)
from robust.isolation import busy_cores, environment_of, isolated
from robust.results import Result, Results, fingerprints, to_frame
from robust.run import Runner

AS_IT_IS = Condition("as it is")
MOVED = Condition("moved", {SEED_SHIFT: "3"})


# A sample of the matrix


def test_another_seed_and_other_instructions_change_no_verdict() -> None:
    condition = Condition("sample", {SEED_SHIFT: "1", "ONEDNN_MAX_CPU_ISA": "SSE41"})
    (result,) = Runner(ROOT).run(condition, SAMPLE)
    assert result.failures == ()


# The conditions


def test_every_kind_of_condition_is_in_the_matrix() -> None:
    values = [value for each in CONDITIONS for value in each.environment.items()]
    assert len([name for name, _ in values if name == SEED_SHIFT]) >= 10
    isas = {value for name, value in values if name == "ONEDNN_MAX_CPU_ISA"}
    assert isas == {"SSE41", "AVX2", "AVX512_CORE"}
    wanted = {("TF_ENABLE_ONEDNN_OPTS", "0"), ("LC_ALL", "tr_TR.UTF-8"), ("LC_ALL", "ko_KR.UTF-8")}
    assert wanted <= set(values)
    names = {name for name, _ in values}
    assert {"NPY_DISABLE_CPU_FEATURES", "OPENBLAS_CORETYPE", "TZ"} <= names
    for property_of in ("one_core", "busy", "together", "offline"):
        assert any(getattr(each, property_of) for each in CONDITIONS), property_of
    assert {each.read_only for each in CONDITIONS} == {"", "repository", "home"}
    assert any(" " in each.folder and not each.folder.isascii() for each in CONDITIONS)
    for number in NOTEBOOKS:
        assert len([each for each in CONDITIONS if number in each.targets]) >= 20
    assert len({each.name for each in CONDITIONS}) == len(CONDITIONS)


def test_every_seed_of_the_helpers_is_moved(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(SEED_SHIFT, raising=False)
    assert shifted(7) == 7
    monkeypatch.setenv(SEED_SHIFT, "101")
    assert shifted(7) == 108


@pytest.mark.parametrize("value", ["-1", "1.5", "", "many", "100001", "٣"])
def test_a_shift_that_is_none_is_refused(value: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(SEED_SHIFT, value)
    message = rf"^the environment variable {SEED_SHIFT} is .*, expected a whole number from 0 to"
    with pytest.raises(ValueError, match=message):
        shifted(0)


def in_condition(condition: Condition, source: str, tmp_path: Path) -> str:
    """Run a few lines under a condition and return what they print."""
    tree, home = tmp_path / "tree", tmp_path / "home"
    for folder in (tree, home):
        folder.mkdir(exist_ok=True)
    command = isolated(condition, [sys.executable, "-c", textwrap.dedent(source)], tree, home)
    result = subprocess.run(
        command,
        cwd=tree,
        env=environment_of(condition, tree, home),
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 0, result.stderr
    return result.stdout


WRITE = """
    import pathlib
    for folder in (pathlib.Path.cwd(), pathlib.Path.home()):
        try:
            (folder / "file").write_text("x")
            print("written")
        except OSError as error:
            print(error.strerror)
"""
CONNECT = """
    import socket
    server = socket.create_server(("127.0.0.1", 0))
    socket.create_connection(server.getsockname(), timeout=5).close()
    print("this machine answers")
    try:
        socket.create_connection(("192.0.2.1", 80), timeout=5)  # an address for examples
    except OSError as error:
        print(error.strerror)
"""


@needs.linux("folders that cannot be written, and a machine without a network")
def test_a_folder_is_closed_and_the_network_is_gone(tmp_path: Path) -> None:
    if no_namespaces():
        pytest.skip(needs.NAMESPACES)
    closed = {each.read_only: each for each in CONDITIONS if each.read_only}
    assert in_condition(closed["repository"], WRITE, tmp_path).startswith("Read-only file system")
    assert in_condition(closed["home"], WRITE, tmp_path) == "written\nRead-only file system\n"
    (offline,) = [each for each in CONDITIONS if each.offline]
    found = in_condition(offline, CONNECT, tmp_path)
    assert found == "this machine answers\nNetwork is unreachable\n"


def test_the_limit_of_instructions_is_not_for_openvino() -> None:
    (limited,) = [each for each in CONDITIONS if each.name == "oneDNN up to SSE41"]
    source = "import os; print(os.getenv(NAME)); import openvino; print(os.getenv(NAME))"
    result = subprocess.run(
        [sys.executable, "-c", source.replace("NAME", "'ONEDNN_MAX_CPU_ISA'")],
        env=environment_of(limited, ROOT, ROOT),
        capture_output=True,
        text=True,
        check=True,
    )
    assert result.stdout.split() == ["SSE41", "None"]


@needs.linux("how busy the cores are")
def test_the_cores_are_busy_until_the_block_ends() -> None:
    def user_seconds() -> float:
        ticks = Path("/proc/stat").read_text(encoding="utf-8").split()[1]
        return int(ticks) / 100

    before = user_seconds()
    with busy_cores():
        time.sleep(1.0)
    assert user_seconds() - before > 0.5


def test_instructions_are_looked_up() -> None:
    assert "no_such_flag" in no_instructions("no_such_flag") or "x86-64" in no_instructions("any")


# Running


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small repository: two notebooks that pass as it is, the first one for one seed only."""
    folder = tmp_path_factory.mktemp("repository")
    options = "[tool.pytest.ini_options]\naddopts = ['--nbval', '--nbval-current-env']\n"
    (folder / "pyproject.toml").write_text(options)
    (folder / "notebooks").mkdir()
    sources = {
        "01_seed": f"import os\nprint(os.environ.get({SEED_SHIFT!r}))",
        "02_same": "print(2)",
    }
    for name, source in sources.items():
        path = folder / "notebooks" / f"{name}.ipynb"
        nbformat.write(new_notebook(cells=[new_code_cell(source)]), path)
        execute_notebooks.execute(path)
    return folder


def test_a_notebook_that_depends_on_the_seed_is_found(tree: Path) -> None:
    runner = Runner(tree)
    assert [runner.run(AS_IT_IS, number)[0].failures for number in ("01", "02")] == [(), ()]
    (found,) = runner.run(MOVED, "01")
    (failure,) = found.failures
    assert (found.condition, found.target) == ("moved", "01")
    assert "01_seed" in failure
    assert "mismatch 'stdout'" in failure


def test_notebooks_that_run_together_have_a_result_each(tree: Path) -> None:
    found = Runner(tree).run(Condition("both", {SEED_SHIFT: "3"}, together=True), "01 02")
    assert [(each.target, bool(each.failures)) for each in found] == [("01", True), ("02", False)]


def test_what_does_not_run_is_a_failure(tree: Path) -> None:
    (found,) = Runner(tree, python=sys.executable).run(AS_IT_IS, TESTS)  # it has no tests
    assert found.failures[0].startswith("exit status 4")


# The results


def test_a_later_run_goes_on_and_another_state_begins_anew(tmp_path: Path) -> None:
    path = tmp_path / "results.jsonl"
    states = {"01": "state 1", "02": "state 1"}
    first = Results(path, states)
    first.add(Result("as it is", "01", 70.0, ()))
    first.add(Result("as it is", "02", 60.0, ("cell 3: no",)))
    again = Results(path, states)
    assert again.get("as it is", "01") == Result("as it is", "01", 70.0, ())
    assert again.get("as it is", "02") == Result("as it is", "02", 60.0, ("cell 3: no",))
    changed = Results(path, states | {"01": "state 2"})
    assert changed.get("as it is", "01") is None
    assert changed.get("as it is", "02") is not None
    table = to_frame([Condition("as it is"), Condition("gone")], again, {"gone": "no"})
    assert table.loc["as it is"].tolist() == ["passed 70 s", "FAILED 1", "not run yet", ""]
    assert table.loc["gone"].tolist() == ["not tried"] * 3 + [""]


@pytest.mark.parametrize(
    ("file", "changed"),
    [
        ("README.md", set()),
        ("pyproject.toml", {"01", "02", "03", TESTS}),
        ("helpers/a.py", {"01", "02", "03", TESTS}),
        ("tests/test_a.py", {TESTS}),
        ("tools/a.py", {TESTS}),
        ("notebooks/02_b.ipynb", {"02"}),
    ],
)
def test_what_depends_on_a_changed_file_runs_again(
    tmp_path: Path, file: str, changed: set[str]
) -> None:
    for name in ("helpers", "tests", "tools", "notebooks"):
        (tmp_path / name).mkdir()
    prose = nbformat.v4.new_markdown_cell("Read this.")
    for name in ("01_a", "02_b"):
        notebook = new_notebook(cells=[prose, new_code_cell("print(1)")])
        nbformat.write(notebook, tmp_path / "notebooks" / f"{name}.ipynb")
    before = fingerprints(tmp_path)
    assert fingerprints(tmp_path) == before
    path = tmp_path / file
    text = path.read_text() if path.exists() else ""
    path.write_text(text.replace("Read this.", "Read that.") if text else "new")
    if text:
        assert fingerprints(tmp_path) == before  # prose is not run
        path.write_text(text.replace("print(1)", "print(2)"))
    after = fingerprints(tmp_path)
    assert {target for target in after if after[target] != before[target]} == changed


@pytest.fixture
def small(tree: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Let the command work on the small repository, with two rows."""
    copy = robust.shutil.copytree(tree, tmp_path / "small")
    conditions = (Condition("as it is", targets=("01", "02")), Condition("moved", targets=("02",)))
    monkeypatch.setattr(robust, "ROOT", copy)
    monkeypatch.setattr(robust, "CONDITIONS", conditions)
    return copy


def test_the_command_prints_the_table_and_runs_nothing_twice(
    small: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert robust.main(["--table"]) == 1
    assert capsys.readouterr().out.count("not run yet") == 3
    assert robust.main(["--jobs", "2"]) == 0
    printed = capsys.readouterr().out
    assert printed.count("minutes left") == 3
    assert "notebook 02: 2 strict runs, 0 failed" in printed
    assert robust.main([]) == 0
    assert "minutes left" not in capsys.readouterr().out
    path = small / "notebooks" / "02_same.ipynb"
    path.write_text(path.read_text().replace("print(2)", "print(3)"))
    assert robust.main(["--only", "moved"]) == 1
    printed = capsys.readouterr().out
    assert "notebook 02: 1 strict runs, 1 failed" in printed
    assert "mismatch 'stdout'" in printed


def test_a_row_that_is_not_there_is_named(small: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="2"):
        robust.main(["--only", "no such row"])
    assert "no row holds 'no such row'; there are: as it is, moved" in capsys.readouterr().err


INTERRUPTED = """
import pathlib, signal, sys
signal.signal(signal.SIGINT, signal.default_int_handler)
from robust import __main__ as robust
from robust.conditions import Condition
robust.ROOT = pathlib.Path(sys.argv[1])
robust.CONDITIONS = (Condition("as it is", targets=("02", "01")),)
sys.exit(robust.main([]))
"""


def test_an_interrupt_ends_all_and_keeps_what_was_found(tree: Path, tmp_path: Path) -> None:
    small = robust.shutil.copytree(tree, tmp_path / "small")
    slow = small / "notebooks" / "01_seed.ipynb"
    nbformat.write(new_notebook(cells=[new_code_cell("import time\ntime.sleep(600)")]), slow)
    command = [sys.executable, "-c", INTERRUPTED, small]
    process = subprocess.Popen(
        command, cwd=ROOT / "tools", stdout=subprocess.PIPE, text=True, env=environment_of(
            Condition("it"), ROOT, tmp_path) | {"PYTHONPATH": f"{ROOT}:{ROOT / 'tools'}"},
    )  # fmt: skip
    first = process.stdout.readline()
    assert "as it is, 02: passed" in first
    process.send_signal(signal.SIGINT)
    rest, _ = process.communicate(timeout=120)
    assert process.returncode == 1
    assert "stopped" in rest
    assert "The same command goes on from here." in rest
    left = subprocess.run(["ps", "-eo", "args"], capture_output=True, text=True, check=True).stdout
    assert str(small) not in left
