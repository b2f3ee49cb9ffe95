"""The executor stores what a second run stores too, and never half a notebook."""

from __future__ import annotations

import json
from pathlib import Path

import nbformat
import pytest

import execute_notebooks

NOISY_CELLS = [
    "import sys, time\nprint('first')\nprint('aside', file=sys.stderr)\nprint('second')",
    "for step in range(3):\n    print(f'\\rstep {step}', end='')\n    time.sleep(0.1)\n"
    "print()\nprint('after the bar')",
    "print('before'); display('shown'); print('after')\n"
    "display({'application/vnd.jupyter.widget-view+json': {}, 'text/plain': '50%'}, raw=True)",
    "#raises-exception\nopen('no such folder/model.keras')",
    "from pathlib import Path\nPath.cwd().name",
]


def write_notebook(path: Path, *sources: str) -> Path:
    """Write a notebook; a source that starts with ``#tag`` and a new line gives a tagged cell."""
    cells = []
    for position, source in enumerate(sources):
        cell = nbformat.v4.new_code_cell(source, id=f"cell-{position}")
        if source.startswith("#"):
            tag, cell.source = source[1:].split("\n", maxsplit=1)
            cell.metadata["tags"] = [tag]
        cells.append(cell)
    nbformat.write(nbformat.v4.new_notebook(cells=cells), path)
    return path


def cell_outputs(path: Path, position: int) -> list[nbformat.NotebookNode]:
    return nbformat.read(path, as_version=4).cells[position].outputs


@pytest.fixture(scope="module")
def executed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A notebook with every kind of output, executed once."""
    folder = tmp_path_factory.mktemp("a folder")
    path = write_notebook(folder / "noisy.ipynb", *NOISY_CELLS)
    assert execute_notebooks.execute(path)
    return path


def test_a_second_run_changes_nothing(executed: Path) -> None:
    before = executed.read_bytes()
    assert not execute_notebooks.execute(executed)
    assert executed.read_bytes() == before


def test_streams_are_joined_in_a_fixed_order(executed: Path) -> None:
    outputs = cell_outputs(executed, 0)
    assert [(output.name, output.text) for output in outputs] == [
        ("stdout", "first\nsecond\n"),
        ("stderr", "aside\n"),
    ]


def test_progress_bars_are_not_stored(executed: Path) -> None:
    (output,) = cell_outputs(executed, 1)
    assert output.text == "after the bar\n"


def test_text_and_displays_keep_their_order_without_widgets(executed: Path) -> None:
    kinds = [output.output_type for output in cell_outputs(executed, 2)]
    assert kinds == ["stream", "display_data", "stream"]


def test_a_wanted_error_keeps_its_message_alone(executed: Path) -> None:
    (output,) = cell_outputs(executed, 3)
    assert output.traceback == [
        "FileNotFoundError: [Errno 2] No such file or directory: 'no such folder/model.keras'"
    ]


def test_the_working_directory_is_the_folder_of_the_notebook(executed: Path) -> None:
    (output,) = cell_outputs(executed, 4)
    assert output.data["text/plain"] == f"'{executed.parent.name}'"


def test_nothing_of_the_day_or_the_machine_is_stored(executed: Path) -> None:
    content = json.loads(executed.read_text())
    assert content["metadata"]["kernelspec"] == execute_notebooks.KERNELSPEC
    assert "version" not in content["metadata"]["language_info"]
    assert all("execution" not in cell["metadata"] for cell in content["cells"])
    assert [cell["execution_count"] for cell in content["cells"]] == [1, 2, 3, 4, 5]


@pytest.mark.parametrize(
    ("sources", "finding"),
    [
        (["print(1)", "total = 1 / 0"], ["total = 1 / 0", "ZeroDivisionError: division by zero"]),
        (["#raises-exception\nquiet = 1"], ["quiet = 1", "tagged raises-exception"]),
        (["import os\nos._exit(1)"], ["Kernel died"]),
    ],
    ids=["a cell fails", "a wanted error does not come", "the kernel dies"],
)
def test_a_failure_is_shown_and_leaves_the_file(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], sources: list[str], finding: list[str]
) -> None:
    path = write_notebook(tmp_path / "failing.ipynb", *sources)
    before = path.read_bytes()
    assert execute_notebooks.main([str(path)]) == 1
    captured = capsys.readouterr()
    assert all(text in captured.err for text in finding)
    assert "failing.ipynb: FAILED" in captured.out
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


def test_a_notebook_after_a_failing_one_is_stored(tmp_path: Path) -> None:
    failing = write_notebook(tmp_path / "1.ipynb", "1 / 0")
    passing = write_notebook(tmp_path / "2.ipynb", "print(2)")
    assert execute_notebooks.main([str(failing), str(passing)]) == 1
    assert cell_outputs(passing, 0)[0].text == "2\n"


def test_a_name_that_does_not_exist_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SystemExit) as refusal:
        execute_notebooks.main([str(tmp_path / "none.ipynb")])
    assert refusal.value.code == 2
