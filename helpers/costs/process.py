"""The parent's side: start a worker process, ask it, end it."""

from __future__ import annotations

import json
import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import helpers

LOG_TAIL_LINES = 5
THREAD_VARIABLES = (
    "OMP_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "MKL_NUM_THREADS",
    "VECLIB_MAXIMUM_THREADS",  # Accelerate, on macOS
)


class WorkerError(RuntimeError):
    """A worker that crashed, hung or could not do what it was asked, in one message."""


class Worker:
    """A fresh Python process that answers requests until it is closed.

    It shares nothing with this process but two pipes, through which requests and replies go as
    lines of JSON. It ends with the ``with`` block, and also when this process ends in any way: its
    pipe then closes. What it prints goes to a log file and not to a notebook.

    Args:
        module: what to run with ``python -m``.
        folder: where its log and its temporary files go; the caller removes it.
        threads: upper limit for the numerical libraries that read it from the environment.

    Attributes:
        process_id: of the worker.
    """

    def __init__(self, module: str, folder: Path, threads: int | None = None) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._log_path = folder / "worker.log"
        with self._log_path.open("wb") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", module],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                env=_environment(folder, threads),
                start_new_session=True,  # Ctrl-C reaches this process only, which then decides
            )
        self.process_id = self._process.pid
        self._received = b""

    def send(self, request: Mapping[str, Any]) -> None:
        """Send a request. When the worker has ended, `receive` says so."""
        with suppress(BrokenPipeError):
            self._process.stdin.write(json.dumps(request).encode() + b"\n")
            self._process.stdin.flush()

    def receive(self, timeout_s: float) -> dict[str, Any]:
        """Wait for the reply to the last request.

        Raises:
            WorkerError: the worker reports an error, has ended, or gives no reply in time. In the
                last case it is killed.
        """
        deadline = time.monotonic() + timeout_s
        pipe = self._process.stdout.fileno()
        while b"\n" not in self._received:
            left = deadline - time.monotonic()
            if left <= 0 or not select.select([pipe], [], [], left)[0]:
                self.close()
                raise WorkerError(f"it gave no answer within {timeout_s:g} s{self.log_tail()}")
            part = os.read(pipe, 1 << 20)
            if not part:
                raise self.failure()
            self._received += part
        line, self._received = self._received.split(b"\n", 1)
        reply = json.loads(line)
        if "error" in reply:
            raise WorkerError(reply["error"])
        return reply

    def ask(self, request: Mapping[str, Any], timeout_s: float) -> dict[str, Any]:
        """Send a request and wait for its reply; see `send` and `receive`."""
        self.send(request)
        return self.receive(timeout_s)

    def close(self) -> None:
        """End the process and what it has started. It has nothing to save."""
        if self._process.poll() is None:
            with suppress(ProcessLookupError, PermissionError):  # it has ended since
                os.killpg(self.process_id, signal.SIGKILL)
        self._process.wait()
        self._process.stdout.close()
        with suppress(OSError):  # a request that was never read
            self._process.stdin.close()

    @property
    def exit_code(self) -> int | None:
        """How the process ended; negative for a signal, None while it runs."""
        return self._process.poll()

    def failure(self) -> WorkerError:
        """Wait for the end of the process, and describe it with the end of its log."""
        code = self._process.wait()
        ending = f"signal {signal.Signals(-code).name}" if code < 0 else f"exit code {code}"
        return WorkerError(f"it crashed with {ending}{self.log_tail()}")

    def log_tail(self) -> str:
        """Return the last lines of the log, ready to be put after a message."""
        lines = self._log_path.read_text(errors="replace").split("\n")
        tail = [line.strip() for line in lines if line.strip()][-LOG_TAIL_LINES:]
        return f"; the end of its log: {' | '.join(tail)}" if tail else ""

    def __enter__(self) -> Worker:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _environment(folder: Path, threads: int | None) -> dict[str, str]:
    environment = dict(os.environ, TMPDIR=str(folder), PYTHONFAULTHANDLER="1")
    if threads is not None:
        environment |= dict.fromkeys(THREAD_VARIABLES, str(threads))
    # The worker must find this very package, also where it is not installed.
    root = Path(helpers.__file__).parents[1]
    if root.name not in ("site-packages", "dist-packages"):
        known = environment.get("PYTHONPATH")
        environment["PYTHONPATH"] = f"{root}{os.pathsep}{known}" if known else str(root)
    return environment
