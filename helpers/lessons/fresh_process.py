"""Run Python code in a process that knows nothing of this one."""

from __future__ import annotations

import os
import subprocess
import sys

# Importing TensorFlow makes hundreds of thousands of objects that stay. Python's garbage collector
# looks through them again and again, and once more at the end: to load and convert a model took 5.7
# instead of 4.0 s. Switched off, it would leave 100 MB of garbage.
COLLECT_LESS = """
__import__("gc").set_threshold(20_000, 10, 10)
__import__("atexit").register(__import__("gc").freeze)
exec(__import__("sys").argv.pop(1))
"""


class FreshProcessError(RuntimeError):
    """The code failed in the other process; the message is the end of what it said."""


def run_in_fresh_process(code: str, *arguments: object, timeout_s: float = 120.0) -> str:
    """Run `code` in a new Python process and return what it printed.

    The process has none of the caller's variables, imports or registered classes: what works there
    works on another machine with the same packages. Only Python's garbage collector has less to do,
    since the process is short.

    Args:
        code: Python source. It finds `arguments` in ``sys.argv[1:]`` and shares the working folder.
        arguments: passed on as text.
        timeout_s: seconds after which the process is stopped.

    Raises:
        FreshProcessError: the code raised an exception, or did not end in time.
    """
    environment = os.environ | {"TF_CPP_MIN_LOG_LEVEL": "3"}
    try:
        result = subprocess.run(
            [sys.executable, "-c", COLLECT_LESS, code, *map(str, arguments)],
            capture_output=True,
            text=True,
            timeout=timeout_s,
            env=environment,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise FreshProcessError(f"the process did not end within {timeout_s:g} s") from error
    if result.returncode != 0:
        raise FreshProcessError(_last_error(result.stderr) or f"exit code {result.returncode}")
    return result.stdout.strip()


def _last_error(stderr: str) -> str:
    """Cut a traceback down to the exception, without the model configurations that Keras adds."""
    lines = stderr.strip().splitlines()
    frames = [index for index, line in enumerate(lines) if line.startswith('  File "')]
    message = lines[frames[-1] + 1 :] if frames else lines[-1:]
    while message and message[0].startswith("  "):  # the code of the last frame
        message.pop(0)
    kept = [line.partition(" Full object config:")[0] for line in message]
    return "\n".join(line for line in kept if line and not line.startswith("config="))
