"""The child's side of the two pipes. Standard library only: the child measures imports."""

from __future__ import annotations

import importlib
import json
import os
import sys
import time
from _thread import start_new_thread
from collections.abc import Iterable, Mapping
from queue import SimpleQueue
from typing import TYPE_CHECKING, Any

from helpers.imports import collector_at_rest

if TYPE_CHECKING:
    from helpers.formats import Runtime

PR_SET_PDEATHSIG = 1
SIGKILL = 9
TAKEN_ALONG = ("keras", "sklearn", "pandas", "matplotlib", "IPython")


class Channel:
    """Requests come in on file descriptor 0, replies go out on what was descriptor 1.

    The process ends as soon as the parent's end of the pipe closes, whatever it is doing. What
    libraries print to descriptor 1 goes to the log with descriptor 2.
    """

    def __init__(self) -> None:
        self._replies = os.dup(1)
        os.dup2(2, 1)
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
        kind = "" if isinstance(error, ValueError) else f"{type(error).__name__}: "
        self.reply({"error": f"{kind}{message}"})


def die_with_parent() -> None:
    """Ask Linux to kill this process when its parent ends, even while it holds the Python lock.

    Elsewhere the closed pipe alone has to do.
    """
    if sys.platform == "linux":
        import ctypes

        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, SIGKILL)


def find_modules(folders: Iterable[str]) -> None:
    """Let this process import what its parent can."""
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


def open_requested(
    request: Mapping[str, Any], *, alone: bool = False
) -> tuple[Runtime, float, float]:
    """Open what `Candidate.request` describes.

    Args:
        request: the candidate's.
        alone: import the framework as `import_alone` does.

    Returns:
        The runtime, and the milliseconds that the imports and the loading took. The package
        `helpers.formats` counts as import: it costs hardly more than NumPy, which every runtime
        needs.
    """
    find_modules(request["path"])
    start = time.perf_counter()
    runtimes = importlib.import_module("helpers.formats")
    (import_alone if alone else importlib.import_module)(request["framework"])
    for module in request["imports"]:
        importlib.import_module(module)
    imported = time.perf_counter()
    if request["threads"] and request["framework"] != "onnxruntime":
        threading = importlib.import_module("tensorflow").config.threading
        threading.set_intra_op_parallelism_threads(request["threads"])
        threading.set_inter_op_parallelism_threads(request["threads"])
    runtime = getattr(runtimes, request["loader"])(**request["arguments"])
    loaded = time.perf_counter()
    return runtime, 1e3 * (imported - start), 1e3 * (loaded - imported)
