"""Code runs in a process of its own, and its failure arrives as the message it had there."""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path

import pytest

from conftest import RunPython
from helpers.lessons.fresh_process import FreshProcessError, run_in_fresh_process

LOAD_CUSTOM = """
import keras

class Amplify(keras.layers.Layer):
    def call(self, inputs):
        return inputs

keras.Sequential([keras.Input((2,)), Amplify()]).save("custom.keras")
del Amplify
keras.saving.load_model("custom.keras")
"""

WARNINGS = """
import logging, warnings
from helpers.lessons.setup import warnings_to_stdout
from absl import logging as absl_logging
warnings_to_stdout()
for _ in range(3):
    warnings.warn("the format\\n  is old", UserWarning)
    absl_logging.warning("saved as %s", "HDF5")
warnings.warn("another", DeprecationWarning)
warnings.warn("word " * 400)
logging.getLogger("tensorflow").warning("retracing of <function f at 0x7f0000000000>")
"""


def test_what_is_printed_comes_back() -> None:
    assert run_in_fresh_process("print('one'); print('two')") == "one\ntwo"


def test_arguments_are_passed_on_as_text() -> None:
    code = "import json, sys; print(json.dumps(sys.argv[1:]))"
    assert json.loads(run_in_fresh_process(code, "a b", 3, Path("x.keras"), "--flag", "")) == [
        "a b", "3", "x.keras", "--flag", "",
    ]  # fmt: skip


def test_nothing_of_this_process_is_there() -> None:
    assert "helpers" in sys.modules
    assert "pytest" in sys.modules
    code = "import sys; print('helpers' in sys.modules, 'pytest' in sys.modules, 'ALT' in dir())"
    assert run_in_fresh_process(code) == "False False False"


def test_only_the_garbage_collector_has_less_to_do_also_at_the_end() -> None:
    code = """
from __future__ import annotations
import atexit, os

class Loop:
    def __init__(self): self.me = self
    def __del__(self, write=os.write): write(1, b"collected")

loop = Loop()
atexit.register(print, "the end")
print([name for name in dir() if not name.startswith("_")])
import gc
print(gc.isenabled(), gc.get_threshold())
"""
    assert run_in_fresh_process(code).splitlines() == [
        "['Loop', 'annotations', 'atexit', 'loop', 'os']",
        "True (20000, 10, 10)",
        "the end",
    ]


def test_it_works_in_the_same_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    run_in_fresh_process("open('made.txt', 'w').close()")
    assert (tmp_path / "made.txt").exists()


@pytest.mark.parametrize(
    ("code", "message"),
    [
        ("raise ValueError('no such format')", "ValueError: no such format"),
        ("raise ValueError('two\\nlines')", "ValueError: two\nlines"),
        ("import no_such_module", "ModuleNotFoundError: No module named 'no_such_module'"),
        ("def f(:", "SyntaxError: invalid syntax"),
        ("print('so far'); raise KeyError('scores')", "KeyError: 'scores'"),
        ("import sys; sys.exit(3)", "exit code 3"),
        ("import sys; sys.exit('stopped here')", "stopped here"),
        ("import os; os._exit(7)", "exit code 7"),
    ],
)
def test_a_failure_has_its_own_message(code: str, message: str) -> None:
    with pytest.raises(FreshProcessError) as failure:
        run_in_fresh_process(code)
    assert str(failure.value) == message


def test_a_nested_message_of_keras_keeps_the_cause_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(FreshProcessError) as failure:
        run_in_fresh_process(LOAD_CUSTOM)
    message = str(failure.value)
    assert "Could not locate class 'Amplify'" in message
    assert "register_keras_serializable" in message
    assert "config=" not in message
    assert "Full object config" not in message
    assert 'File "' not in message
    assert len(message) < 700


def test_a_process_that_does_not_end_is_stopped() -> None:
    start = time.monotonic()
    with pytest.raises(FreshProcessError, match=r"did not end within 0\.5 s"):
        run_in_fresh_process("import time; time.sleep(60)", timeout_s=0.5)
    assert time.monotonic() - start < 60  # it did not wait for the end


def test_a_warning_is_one_line_without_a_path(run_python: RunPython) -> None:
    result = run_python(WARNINGS)
    assert result.stderr == ""
    first, second, third, long = result.stdout.splitlines()
    assert (first, second) == ("UserWarning: the format is old", "Warning: saved as HDF5")
    assert third == "DeprecationWarning: another"
    assert long.startswith("UserWarning: word word")
    assert long.endswith(" ...")
    assert len(long) < 350
