"""Run Python code in a process that knows nothing of this one, and that leaves nothing running.

The caller starts a guard: this file, as a program. The guard starts the fresh process, and ends it
with all that it has started.
"""

from __future__ import annotations

import ctypes
import io
import os
import re
import selectors
import signal
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from functools import partial
from pathlib import Path

MAX_OUTPUT_BYTES = 16 * 2**20
"""Of both outputs together."""

VARIABLES = {"TF_CPP_MIN_LOG_LEVEL": "3", "PYTHONIOENCODING": "utf-8:backslashreplace"}

# Importing TensorFlow makes hundreds of thousands of objects that stay. Python's garbage collector
# looks through them again and again, and once more at the end: to load and convert a model took 5.7
# instead of 4.0 s. Switched off, it would leave 100 MB of garbage. (`helpers.imports` knows another
# way, but this process shall know nothing of our helpers.)
COLLECT_LESS = """
__import__("gc").set_threshold(20_000, 10, 10)
__import__("atexit").register(__import__("gc").freeze)
exec(__import__("sys").stdin.buffer.read().decode())
"""


class FreshProcessError(RuntimeError):
    """The code failed in the other process; the message is the end of what it said."""


def run_in_fresh_process(code: str, *arguments: object, timeout_s: float = 120.0) -> str:
    """Run `code` in a new Python process and return what it printed.

    The process has none of the caller's variables, imports or registered classes: what works there
    works on another machine with the same packages. Only Python's garbage collector has less to do,
    since the process is short. All that it started ends with it, and it ends with the caller, also
    with one that is killed. (Elsewhere than on Linux, not with one that is killed, and what leaves
    its process group stays.)

    Args:
        code: Python source of any length. It finds `arguments` in ``sys.argv[1:]``, shares the
            working folder, and has nothing to read on its standard input.
        arguments: passed on as text.
        timeout_s: seconds after which the process is stopped.

    Returns:
        Its standard output without white space at both ends. What is no UTF-8 comes as U+FFFD, and
        a character that has no UTF-8 as an escape sequence.

    Raises:
        FreshProcessError: the code raised an exception, did not end in time, or wrote more than
            `MAX_OUTPUT_BYTES`.
        ValueError: a character of the code cannot be in Python source, such as NUL; or an argument
            holds NUL.
    """
    if found := re.search("[\0\ud800-\udfff]", code):
        raise ValueError(
            f"code: the character {found[0]!r} at position {found.start()} cannot be in Python "
            "source. Write it as an escape sequence."
        )
    guard_command = [sys.executable, "-IS", __file__, str(os.getpid())]
    command = [sys.executable, "-c", COLLECT_LESS, *map(str, arguments)]
    with tempfile.TemporaryFile() as source:  # an argument of a command may not be long
        source.write(code.encode())
        source.seek(0)
        guard = subprocess.Popen(
            guard_command + command,
            stdin=source,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=os.environ | VARIABLES,
            start_new_session=True,
        )
    with guard:
        try:
            output, errors = _collect(guard, timeout_s)
        except subprocess.TimeoutExpired as error:
            raise FreshProcessError(f"the process did not end within {timeout_s:g} s") from error
        finally:
            _end(guard)
    if guard.returncode != 0:
        raise FreshProcessError(_last_error(errors) or f"exit code {guard.returncode}")
    return output.strip()


def _collect(guard: subprocess.Popen[bytes], timeout_s: float) -> list[str]:
    """Return what was written to both outputs, when all is ended."""
    deadline = time.monotonic() + timeout_s
    kept = {guard.stdout: bytearray(), guard.stderr: bytearray()}
    with selectors.DefaultSelector() as selector:
        for stream in kept:
            selector.register(stream, selectors.EVENT_READ)
        while selector.get_map():
            ready = selector.select(max(0.0, deadline - time.monotonic()))
            for key, _ in ready:
                part = os.read(key.fd, 1 << 16)
                kept[key.fileobj] += part
                if not part:
                    selector.unregister(key.fileobj)
            if sum(map(len, kept.values())) > MAX_OUTPUT_BYTES:
                raise FreshProcessError(
                    f"the process wrote more than {MAX_OUTPUT_BYTES / 2**20:g} MiB and was "
                    "stopped. Let the code write to a file."
                )
            if time.monotonic() >= deadline:
                break
    guard.wait(max(0.0, deadline - time.monotonic()))
    # A text file has one kind of line end, as text in Python has.
    return [io.TextIOWrapper(io.BytesIO(each), "utf-8", "replace").read() for each in kept.values()]


def _end(guard: subprocess.Popen[bytes]) -> None:
    """Let the guard end what the code has started, and make sure of it."""
    guard.terminate()
    with suppress(subprocess.TimeoutExpired):
        guard.wait(5.0)  # it takes milliseconds
    with suppress(ProcessLookupError, PermissionError):  # all is ended
        os.killpg(guard.pid, signal.SIGKILL)


def _last_error(stderr: str) -> str:
    """Cut a traceback down to the exception, without the model configurations that Keras adds."""
    lines = stderr.strip().splitlines()
    frames = [index for index, line in enumerate(lines) if line.startswith('  File "')]
    message = lines[frames[-1] + 1 :] if frames else lines[-1:]
    while message and message[0].startswith("  "):  # the code of the last frame
        message.pop(0)
    kept = [line.partition(" Full object config:")[0] for line in message]
    return "\n".join(line for line in kept if line and not line.startswith("config="))


PARENT_DEATH_SIGNAL, CHILD_SUBREAPER = 1, 36
"""Linux's PR_SET_...: the signal that tells of the parent's end; be the parent of orphans."""


def _be_the_guard(caller: int, command: list[str]) -> int:
    """Run a command, and end all that it started when it ends, or the caller does, or asks for it.

    Returns:
        The exit code of the command; negative, the signal that ended it.
    """
    linux = sys.platform == "linux"
    prctl = ctypes.CDLL(None).prctl if linux else lambda *_: None
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    prctl(PARENT_DEATH_SIGNAL, signal.SIGTERM)
    prctl(CHILD_SUBREAPER, 1)
    if os.getppid() != caller:  # it ended before it was watched
        return 1
    try:
        end_with_the_guard = partial(prctl, PARENT_DEATH_SIGNAL, signal.SIGKILL)
        return subprocess.Popen(command, preexec_fn=end_with_the_guard).wait()
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        children = Path(f"/proc/self/task/{os.getpid()}/children")
        while linux and (found := children.read_text().split()):
            for child in found:
                os.kill(int(child), signal.SIGKILL)
            os.waitpid(-1, 0)  # and its own children are this process's now


if __name__ == "__main__":
    exit_code = _be_the_guard(int(sys.argv[1]), sys.argv[2:])
    if exit_code < 0:  # end by the same signal
        with suppress(OSError):  # SIGKILL has no other action
            signal.signal(-exit_code, signal.SIG_DFL)
        os.kill(os.getpid(), -exit_code)
    sys.exit(exit_code)
