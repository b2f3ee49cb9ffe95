"""Start a program as the first process of a host, bound its life, and see that nothing is left."""

from __future__ import annotations

import os
import signal
import subprocess
import time
import uuid
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from types import FrameType

from tools.scale.namespaces import isolated

MARK = "TOOLS_SCALE_RUN"
REPORT, FIGURE = "scale.json", "scale.png"
"""The files that a run leaves in its output folder."""
GONE_TIMEOUT_S = 10.0


class Interrupted(BaseException):
    """SIGINT, SIGTERM or SIGHUP came."""


def run_in_a_host(
    command: Sequence[str], environment: Mapping[str, str], life_s: float
) -> tuple[int, list[int]]:
    """Run a command in a host of its own and wait for its end.

    The command gets a pipe as standard input. It closes when this process ends in whatever way;
    the command then ends itself, and the kernel everything else in its host.

    Args:
        command: the first process of the host.
        environment: of it.
        life_s: seconds after which it is ended.

    Returns:
        The exit code, and the ids of processes that are left: none, or there is an error here.
    """
    mark = uuid.uuid4().hex
    with _interrupts_raise():
        process = subprocess.Popen(
            isolated(command), stdin=subprocess.PIPE, env={**environment, MARK: mark},
            start_new_session=True,  # Ctrl-C reaches this process alone, and it ends the other
        )  # fmt: skip
        try:
            code = process.wait(life_s)
        except subprocess.TimeoutExpired:
            code = 1
        except Interrupted:
            code = 130
        finally:
            process.kill()  # unshare, and with it the first process and all others of the host
            process.wait()
            process.stdin.close()
    return code, wait_until_gone(mark)


def wait_until_gone(mark: str, timeout_s: float = GONE_TIMEOUT_S) -> list[int]:
    """Wait until no process has the mark; end those that are left, and return their ids."""
    end = time.monotonic() + timeout_s
    while left := marked_processes(mark):
        if time.monotonic() > end:
            for each in left:
                with suppress(ProcessLookupError):
                    os.kill(each, signal.SIGKILL)
            return left
        time.sleep(0.05)
    return []


def marked_processes(mark: str) -> list[int]:
    """Find the processes that have inherited a mark in their environment."""
    wanted = f"{MARK}={mark}".encode()
    found = []
    for path in Path("/proc").glob("[0-9]*/environ"):
        with suppress(OSError):  # it has ended, or belongs to another user
            if wanted in path.read_bytes().split(b"\0"):
                found.append(int(path.parent.name))
    return sorted(found)


@contextmanager
def _interrupts_raise() -> Iterator[None]:
    """Let what ends a program raise, so that `finally` is reached.

    SIGINT too: a shell lets the programs that it starts in the background ignore it.
    """

    def stop(number: int, frame: FrameType | None) -> None:
        raise Interrupted

    numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    before = [signal.signal(number, stop) for number in numbers]
    try:
        yield
    finally:
        for number, handler in zip(numbers, before, strict=True):
            signal.signal(number, handler)
