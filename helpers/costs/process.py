"""The manager's side of the pipes: start a worker process, ask it, end it."""

from __future__ import annotations

import json
import os
import select
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import IO, Any

import helpers

LOG_TAIL_LINES = 5
LOG_BYTES = 2**16
"""The end of a log that is kept: a worker that prints without end fills no disk and no memory."""

GRACE_S = 2.0
"""How long a worker that has closed its pipe may take to end."""

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

    It shares nothing with this process but pipes, through which requests and replies go as lines
    of JSON. It ends with the ``with`` block, with all that it has started, and also when this
    process ends in any way: its pipe then closes. The end of what it prints is kept.

    Args:
        module: what to run with ``python -m``; it talks through a `Channel`.
        folder: where its temporary files go; the caller removes it.
        threads: upper limit for the numerical libraries that read it from the environment.

    Attributes:
        process_id: of the worker.
    """

    def __init__(self, module: str, folder: Path, threads: int | None = None) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        replies, to_parent = os.pipe()
        self._replies = replies
        try:
            self._process = subprocess.Popen(
                [sys.executable, "-m", module, str(to_parent)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                env=_environment(folder, threads),
                pass_fds=[to_parent],
                start_new_session=True,  # Ctrl-C reaches this process only, which then decides
            )
        finally:
            os.close(to_parent)
        self.process_id = self._process.pid
        self._received = b""
        self._log = b""
        self._reader = threading.Thread(target=self._read_log, args=[self._process.stdout])
        self._reader.daemon = True
        self._reader.start()

    def _read_log(self, pipe: IO[bytes]) -> None:
        with pipe:
            while part := pipe.read1(LOG_BYTES):
                self._log = (self._log + part)[-LOG_BYTES:]

    def send(self, request: Mapping[str, Any]) -> None:
        """Send a request. When the worker has ended, `receive` says so."""
        with suppress(BrokenPipeError, ValueError):  # ValueError: this side has closed it
            self._process.stdin.write(json.dumps(request).encode() + b"\n")
            self._process.stdin.flush()

    def receive(self, timeout_s: float) -> dict[str, Any]:
        """Wait for the reply to the last request.

        Raises:
            WorkerError: the worker reports an error, has ended, says what is no reply, or gives no
                reply in time. Unless it reports an error, it is killed.
        """
        if self._replies < 0:
            raise WorkerError("it has ended")
        deadline = time.monotonic() + timeout_s
        while b"\n" not in self._received:
            left = deadline - time.monotonic()
            if left <= 0 or not select.select([self._replies], [], [], left)[0]:
                self.close()
                raise WorkerError(f"it gave no answer within {timeout_s:g} s{self.log_tail()}")
            part = os.read(self._replies, 1 << 20)
            if not part:
                raise self.failure()
            self._received += part
        line, self._received = self._received.split(b"\n", 1)
        try:
            reply = json.loads(line)
            error = reply.get("error")
        except (ValueError, AttributeError):
            self.close()
            raise WorkerError(f"it sent what is no reply: {line[:80]!r}") from None
        if error is not None:
            raise WorkerError(f"{reply['kind']}: {error}" if reply.get("kind") else error)
        return reply

    def ask(self, request: Mapping[str, Any], timeout_s: float) -> dict[str, Any]:
        """Send a request and wait for its reply; see `send` and `receive`."""
        self.send(request)
        return self.receive(timeout_s)

    def close(self) -> None:
        """End the process and all that it has started. It has nothing to save."""
        if self._replies < 0:
            return
        with suppress(ProcessLookupError, PermissionError):  # nothing of it runs any more
            os.killpg(self.process_id, signal.SIGKILL)
        self._process.wait()
        self._reader.join(GRACE_S)
        os.close(self._replies)
        self._replies = -1
        with suppress(OSError):  # a request that was never read
            self._process.stdin.close()

    @property
    def exit_code(self) -> int | None:
        """How the process ended; negative for a signal, None while it runs."""
        return self._process.poll()

    def failure(self) -> WorkerError:
        """End a process that answers no more, and describe how it ended with the end of its log."""
        try:
            code = self._process.wait(GRACE_S)
        except subprocess.TimeoutExpired:
            self.close()
            return WorkerError(f"it closed its pipe without an answer{self.log_tail()}")
        self.close()
        ending = f"signal {signal.Signals(-code).name}" if code < 0 else f"exit code {code}"
        return WorkerError(f"it crashed with {ending}{self.log_tail()}")

    def log_tail(self) -> str:
        """Return the last lines of the log, ready to be put after a message."""
        lines = self._log.decode(errors="replace").split("\n")
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
