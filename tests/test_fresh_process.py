"""Code runs in a process of its own, and its failure arrives as the message it had there."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

import needs
from conftest import ROOT, RunPython
from helpers.lessons.fresh_process import (
    MAX_OUTPUT_BYTES,
    FreshProcessError,
    run_in_fresh_process,
)

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
        ("import os; os.kill(os.getpid(), 9)", "exit code -9"),
        ("import os; os.kill(os.getpid(), 15)", "exit code -15"),
        (r"import os; os.write(2, b'\xff\0'); os._exit(1)", "\ufffd\0"),
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


LEAVE_PROCESSES = """
import os, subprocess, sys, time
sleep = [sys.executable, "-c", "import time; time.sleep(600)"]
left = [subprocess.Popen(sleep), subprocess.Popen(sleep, start_new_session=True)]
numbers = [os.getpid(), *(each.pid for each in left)]
with open("numbers.txt.part", "w") as file:
    print(*numbers, file=file)
os.rename("numbers.txt.part", "numbers.txt")
time.sleep(float(sys.argv[1]))
"""
"""Starts a process, and another one in a session of its own, and waits for none."""

CALLER = f"""
from helpers.lessons.fresh_process import run_in_fresh_process
run_in_fresh_process({LEAVE_PROCESSES!r}, 600)
"""


def started(folder: Path) -> list[int]:
    """Wait for the numbers of the processes that `LEAVE_PROCESSES` notes."""
    numbers = folder / "numbers.txt"
    wait_until(numbers.exists)
    found = [int(number) for number in numbers.read_text().split()]
    assert len(found) == 3
    return found


def wait_until(holds: Callable[[], bool]) -> None:
    end = time.monotonic() + 60
    while not holds():
        assert time.monotonic() < end, "it did not happen within a minute"
        time.sleep(0.02)


def runs(number: int) -> bool:
    """Say whether a process is there and is no zombie."""
    try:
        return Path(f"/proc/{number}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


@needs.linux("processes that end with their parent")
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_all_ends_with_a_caller_that_is_killed(tmp_path: Path, number: signal.Signals) -> None:
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    caller = subprocess.Popen([sys.executable, "-c", CALLER], cwd=tmp_path, env=environment)
    with caller:
        numbers = started(tmp_path)
        assert all(map(runs, numbers))
        caller.send_signal(number)
    wait_until(lambda: not any(map(runs, numbers)))


@needs.linux("processes that end with their parent")
@pytest.mark.parametrize("seconds", [0, 600])
def test_no_process_stays_after_the_end_and_after_the_time_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, seconds: int
) -> None:
    monkeypatch.chdir(tmp_path)
    start = time.monotonic()
    if seconds:
        with pytest.raises(FreshProcessError, match="did not end within 3 s"):
            run_in_fresh_process(LEAVE_PROCESSES, seconds, timeout_s=3)
    else:
        run_in_fresh_process(LEAVE_PROCESSES, seconds)
    assert not any(map(runs, started(tmp_path)))
    assert time.monotonic() - start < 60  # it did not wait for them


WRITE_MUCH = """
import sys
block = b"x" * 2**20
stream = getattr(sys, sys.argv[1]).buffer
for _ in range(int(sys.argv[2])):
    stream.write(block)
"""

PEAK_OF_A_CALLER = f"""
import sys
from pathlib import Path
from helpers.lessons.fresh_process import FreshProcessError, run_in_fresh_process
try:
    print(len(run_in_fresh_process({WRITE_MUCH!r}, sys.argv[1], 512)))
except FreshProcessError as error:
    print(error)
print(Path("/proc/self/status").read_text().partition("VmHWM:")[2].split()[0])
"""


def test_sixteen_mebibytes_come_back() -> None:
    assert run_in_fresh_process(WRITE_MUCH, "stdout", 16) == "x" * MAX_OUTPUT_BYTES
    with pytest.raises(FreshProcessError, match=r"more than 16 MiB .* to a file\.$"):
        run_in_fresh_process("print('x' * 16 * 2**20)")


@needs.linux("the memory of a process")
@pytest.mark.parametrize("stream", ["stdout", "stderr"])
def test_a_flood_is_stopped_and_takes_no_memory(run_python: RunPython, stream: str) -> None:
    message, peak_kib = run_python(PEAK_OF_A_CALLER, stream).stdout.splitlines()
    assert message.startswith("the process wrote more than 16 MiB and was stopped")
    assert int(peak_kib) < 150 * 1024


@pytest.mark.parametrize(
    ("code", "output"),
    [
        (r"import sys; sys.stdout.buffer.write(b'\xffa\0b')", "\ufffda\0b"),
        (r"print('\ud800 \udc80')", r"\ud800 \udc80"),
        (r"import sys; sys.stdout.buffer.write(b'1\r2\r\n3')", "1\n2\n3"),
        ("import sys; print('é', repr(sys.stdin.read()))", "é ''"),
    ],
)
def test_whatever_is_printed_comes_back_as_text(code: str, output: str) -> None:
    assert run_in_fresh_process(code) == output


def test_code_may_be_long() -> None:
    assert run_in_fresh_process("x = 1\n" * 100_000 + "print(x)") == "1"


@pytest.mark.parametrize("character", ["\0", "\udc80"])
def test_what_no_source_can_hold_is_refused(character: str) -> None:
    message = rf"^code: the character {re.escape(repr(character))} at position 7 cannot be in"
    with pytest.raises(ValueError, match=message):
        run_in_fresh_process(f"print('{character}')")
    with pytest.raises(ValueError, match="null byte"):
        run_in_fresh_process("print(1)", "\0")


def test_a_warning_is_one_line_without_a_path(run_python: RunPython) -> None:
    result = run_python(WARNINGS)
    assert result.stderr == ""
    first, second, third, long = result.stdout.splitlines()
    assert (first, second) == ("UserWarning: the format is old", "Warning: saved as HDF5")
    assert third == "DeprecationWarning: another"
    assert long.startswith("UserWarning: word word")
    assert long.endswith(" ...")
    assert len(long) < 350
