"""Which version of a model answers. Each is loaded, and answers, in a process of its own."""

from __future__ import annotations

import asyncio
import os
import signal
import tempfile
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from helpers.costs.process import Worker, WorkerError
from helpers.serving.body import RequestError
from helpers.serving.folders import Fingerprint, fingerprint, version_folders

ANSWER_S = 60.0
"""A version that computes longer is ended: it would keep all other requests waiting."""


class Version:
    """One version of a model, and the process that answers for it.

    Attributes:
        state: in TensorFlow Serving's words: LOADING, AVAILABLE, UNLOADING or END.
        error: why it ended, or "".
        fingerprint: of its folder; None when it may be loaded again as it is.
        signatures: its inputs and outputs, as in TensorFlow Serving's metadata.
    """

    def __init__(self, path: Path, error: str = "") -> None:
        self.state, self.error = "LOADING", error
        self.fingerprint: Fingerprint | None = fingerprint(path)
        self.signatures: dict[str, Any] = {}
        self._turn = asyncio.Lock()  # first come, first served
        self._done = asyncio.Event()
        self._files = tempfile.TemporaryDirectory(prefix="version_", ignore_cleanup_errors=True)
        # Here and not in a thread: Linux ends the process when the thread that started it ends.
        self._worker = Worker("helpers.serving.version_process", Path(self._files.name))

    async def ask(self, request: Mapping[str, Any], timeout_s: float) -> dict[str, Any]:
        """Send a request to the process when it has answered the others.

        Raises:
            WorkerError: it cannot be loaded, has ended, or gave no answer in time.
        """
        async with self._turn:
            try:
                return await asyncio.to_thread(self._worker.ask, request, timeout_s)
            except (WorkerError, OSError, ValueError) as error:
                self.end(str(error))
                raise WorkerError(self.error) from error

    def check(self) -> None:
        """Notice a process that has ended without being asked."""
        idle = self.state == "AVAILABLE" and not self._turn.locked()
        if idle and self._worker.exit_code is not None:
            self.end(str(self._worker.failure()))

    def let_go(self) -> None:
        """Take no new requests: another version has taken over."""
        self.state = "UNLOADING"
        self._done.set()

    def end(self, error: str = "", *, may_return: bool = False) -> None:
        """End the process. What it was asked gets no answer."""
        if self.state != "END":
            if may_return or self.state == "AVAILABLE":
                self.fingerprint = None
            self.state, self.error = "END", error
            self._done.set()
            if self._worker.exit_code is None:
                with suppress(ProcessLookupError, PermissionError):  # it has ended since
                    os.killpg(self._worker.process_id, signal.SIGKILL)

    async def clean_up(self) -> None:
        """Wait until it is let go or has ended; end it behind the last request that waits."""
        await self._done.wait()
        async with self._turn:
            self.end()
            self._worker.close()
            self._files.cleanup()


class ServedModel:
    """One model name with its folder of versions.

    Rules, as in TensorFlow Serving: the highest number is served; a new version is loaded and
    warmed up before it takes over; the old one is let go when its last request is answered. When
    the folder of the served version disappears, the highest one that is left takes over. A version
    that cannot be loaded is reported in the status, and what was served stays. When no version is
    left, the one in memory stays too. One whose process ends while it serves is loaded again.

    Args:
        name: of the model.
        folder: with one subfolder for each version, named by a number.
        load_s: seconds until a version must be loaded and warmed up.
        max_rows: of a request.
    """

    def __init__(self, name: str, folder: Path, load_s: float, max_rows: int) -> None:
        self._name, self._folder = name, folder
        self._load_s, self._max_rows = load_s, max_rows
        self._versions: dict[int, Version] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    def poll(self) -> None:
        """Compare the folder with what is served, and begin to load what should be served."""
        paths = version_folders(self._folder)
        wanted = next((key for key in paths if self._may_serve(key, paths[key])), None)
        for key, version in self._versions.items():
            version.check()
            if version.state == "LOADING" and key != wanted:
                version.end("it was not ready when another one was wanted", may_return=True)
        known = self._versions.get(wanted)
        if wanted is None or (known and known.state in ("LOADING", "AVAILABLE")):
            return
        version = self._versions[wanted] = Version(paths[wanted], known.error if known else "")
        task = asyncio.create_task(self._live(version, paths[wanted]))
        self._tasks.add(task)  # asyncio itself does not keep it alive
        task.add_done_callback(self._tasks.discard)

    def _may_serve(self, number: int, path: Path) -> bool:
        known = self._versions.get(number)
        failed = known and known.state == "END" and known.error
        return not failed or fingerprint(path) != known.fingerprint

    async def _live(self, version: Version, path: Path) -> None:
        """Load a version and let it take over; clean up when it has ended."""
        request = {"folder": str(path), "max_rows": self._max_rows}
        try:
            version.signatures = (await version.ask(request, self._load_s))["signatures"]
        except WorkerError:
            self.poll()  # for the next lower one
        if version.state == "LOADING":
            for served in self._versions.values():
                if served.state == "AVAILABLE":
                    served.let_go()
            version.state, version.error = "AVAILABLE", ""
        await version.clean_up()

    def find(self, number: int | None = None) -> tuple[int, Version]:
        """Return the version that answers; None takes whichever it is.

        Raises:
            RequestError: 404 for a version that is not served, 503 while none is.
        """
        versions = self._versions.items()
        served = next((each for each in versions if each[1].state == "AVAILABLE"), None)
        if served is None:
            errors = [f"version {key}: {each.error}" for key, each in versions if each.error]
            reason = "; ".join(errors) or "it is being loaded"
            raise RequestError(f"model '{self._name}' is not ready: {reason}", 503)
        if number not in (None, served[0]):
            message = f"has no version {number}; it serves version {served[0]}"
            raise RequestError(f"model '{self._name}' {message}", 404)
        return served

    async def predict(self, number: int | None, body: bytes) -> tuple[int, str]:
        """Answer a request: the status of HTTP, and a body in JSON.

        Raises:
            RequestError: see `find`; 503, the version has ended meanwhile.
        """
        key, version = self.find(number)
        try:
            reply = await version.ask({"body": body.decode("latin-1")}, ANSWER_S)
        except WorkerError as error:
            raise RequestError(f"version {key} has ended: {error}", 503) from error
        return reply["status"], reply["content"]

    def status(self, number: int | None = None) -> dict[str, Any]:
        """Describe all versions seen so far, or one, as TensorFlow Serving does.

        Raises:
            RequestError: 404 for a version that was never seen.
        """
        described = [
            {"version": str(key), "state": each.state, "status": _status(each.error)}
            for key, each in sorted(self._versions.items(), reverse=True)
            if number in (None, key)
        ]
        if number is not None and not described:
            raise RequestError(f"model '{self._name}' has no version {number}", 404)
        return {"model_version_status": described}

    def metadata(self, number: int | None = None) -> dict[str, Any]:
        """Describe the served version, as TensorFlow Serving does; see `find` for the errors."""
        key, version = self.find(number)
        return {
            "model_spec": {"name": self._name, "signature_name": "", "version": str(key)},
            "metadata": {"signature_def": {"signature_def": version.signatures}},
        }


def _status(error: str) -> dict[str, str]:
    return {"error_code": "UNKNOWN" if error else "OK", "error_message": error}
