"""The worker's side of the pipes. Standard library only: the worker measures imports."""

from __future__ import annotations

import importlib
import json
import os
import sys
from _thread import start_new_thread
from collections.abc import Iterable, Mapping
from queue import SimpleQueue
from typing import Any

from helpers.imports import collector_at_rest

PR_SET_PDEATHSIG = 1
SIGKILL = 9
TAKEN_ALONG = ("keras", "sklearn", "pandas", "matplotlib", "IPython")


class Channel:
    """Requests come in on file descriptor 0, replies go out on the one that the command names.

    The process ends as soon as the manager's end of the pipe closes, whatever it is doing. What
    libraries print goes to the log: nothing but replies is ever in the pipe of replies.
    """

    def __init__(self) -> None:
        self._replies = int(sys.argv[1])
        self._requests: SimpleQueue[bytes] = SimpleQueue()
        start_new_thread(self._listen, ())

    def _listen(self) -> None:
        while line := sys.stdin.buffer.readline():
            self._requests.put(line)
        os._exit(0)

    def receive(self) -> dict[str, Any]:
        """Wait for the next request."""
        return json.loads(self._requests.get())

    def reply(self, content: Mapping[str, Any]) -> None:
        """Answer the request."""
        data = memoryview(json.dumps(content).encode() + b"\n")
        while data:
            data = data[os.write(self._replies, data) :]

    def reply_error(self, error: BaseException) -> None:
        """Answer that it did not work, in the words of the error."""
        message = " ".join(str(error).split())
        kind = "" if isinstance(error, ValueError) else type(error).__name__
        self.reply({"error": message, "kind": kind})


def die_with_parent() -> None:
    """Ask Linux to kill this process when its parent ends, even while it holds the Python lock.

    Elsewhere the closed pipe alone has to do.
    """
    if sys.platform == "linux":
        import ctypes

        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, SIGKILL)


def find_modules(folders: Iterable[str]) -> None:
    """Let this process import what the manager's can."""
    sys.path.extend(folder for folder in folders if folder not in sys.path)


def import_alone(framework: str) -> None:
    """Import a framework without the packages that it only takes along.

    Keras imports what is installed of scikit-learn, pandas, Matplotlib and IPython, for wrappers
    and pictures that no artifact needs, and TensorFlow imports Keras: up to half of the time, and
    100 MB. Only this import goes without them: the caller's own modules can import them afterwards.
    The garbage collector rests meanwhile. Not for a cold start, which measures this environment as
    it is.
    """
    left_out = [name for name in TAKEN_ALONG if name != framework and name not in sys.modules]
    sys.modules.update(dict.fromkeys(left_out))  # None: an import of this name fails
    try:
        with collector_at_rest():
            importlib.import_module(framework)
    finally:
        for name in left_out:
            del sys.modules[name]
