"""A server's place and its bounded life: it ends with its parent, and at the latest in time."""

from __future__ import annotations

import json
import os
import select
import shutil
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from typing import Any, NoReturn

from helpers.costs.channel import die_with_parent

HOST = "127.0.0.1"
LIFE_OVER = "its life is over"


def take_request() -> dict[str, Any]:
    """Read the parent's request from descriptor 0, and tie this process to the open pipe.

    When the pipe closes, because the parent closed it or has ended in any way, all processes of
    this session end, and their temporary ``folder`` goes. They also end after ``life_s`` seconds.
    """
    request = json.loads(sys.stdin.buffer.readline())
    arguments = request["life_s"], request["folder"]
    threading.Thread(target=_end_in_time, args=arguments, daemon=True).start()
    return request


def answer(content: Mapping[str, Any]) -> None:
    """Answer the request on the descriptor that the command names; what is printed is the log."""
    os.write(int(sys.argv[1]), json.dumps(content).encode() + b"\n")


def _end_in_time(life_s: float, folder: str) -> None:
    # The parent sends one request only: what can be read after it is the end of the pipe.
    if select.select([0], [], [], life_s)[0]:
        shutil.rmtree(folder, ignore_errors=True)
    else:
        print(LIFE_OVER, file=sys.stderr, flush=True)
    os.killpg(os.getpgrp(), signal.SIGKILL)


def run_program(command: Sequence[str]) -> NoReturn:
    """Run a program that does not watch the pipe: this process does, in its place."""
    program = subprocess.Popen(
        command, stdin=subprocess.DEVNULL, stdout=sys.stderr, preexec_fn=die_with_parent
    )
    sys.exit(f"{os.path.basename(command[0])} ended with exit code {program.wait()}")


def free_port(port: int, address: str) -> int:
    """Return `port` if a server can listen there now, or any free one for 0.

    The empty address stands for every address of the machine.

    Raises:
        OSError: the port is taken, or needs other rights; the message says what to do.
    """
    try:
        with socket.create_server((address, port)) as probe:
            return probe.getsockname()[1]
    except OSError as error:
        raise OSError(
            f"port {port} cannot be used ({os.strerror(error.errno)}). Another program has it, "
            "perhaps an earlier server: stop that one, or give port=0 to take a free port"
        ) from error
