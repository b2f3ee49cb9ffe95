"""The bounded life of a server: its processes end with the parent, and at the latest in time."""

from __future__ import annotations

import json
import os
import signal
import sys
import threading
import time
from collections.abc import Mapping
from typing import Any, NoReturn

LIFE_OVER = "its life is over"


def take_request() -> dict[str, Any]:
    """Read the parent's request from descriptor 0, and tie this process to the open pipe.

    When the pipe closes, because the parent closed it or has ended in any way, all processes of
    this session end. So they do after ``life_s`` seconds.
    """
    request = json.loads(sys.stdin.buffer.readline())
    threading.Thread(target=_wait_for_the_parent, daemon=True).start()
    threading.Thread(target=_wait_for_the_end, args=(request["life_s"],), daemon=True).start()
    return request


def answer(content: Mapping[str, Any]) -> None:
    """Answer the request on descriptor 1; whatever is printed later goes to the log."""
    sys.stdout.write(json.dumps(content) + "\n")
    sys.stdout.flush()
    os.dup2(2, 1)


def end_all(reason: str) -> NoReturn:
    """Write the reason into the log, and end all processes of this session, this one included."""
    print(reason, file=sys.stderr, flush=True)
    os.killpg(os.getpgrp(), signal.SIGKILL)
    raise AssertionError("not reached")


def _wait_for_the_parent() -> None:
    # Not sys.stdin: a thread that waits there holds a lock, which forked processes inherit.
    while os.read(0, 1):
        pass
    end_all("the parent has ended")


def _wait_for_the_end(life_s: float) -> None:
    time.sleep(life_s)
    end_all(LIFE_OVER)
