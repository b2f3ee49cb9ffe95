"""Which version of a model answers: new ones are loaded, the old one goes when it is idle."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, TypeVar

from helpers.serving.errors import RequestError
from helpers.serving.folders import version_folders

Endpoint = TypeVar("Endpoint")
Load = Callable[[Path], Endpoint]
Fingerprint = tuple[tuple[str, int, int], ...]


@dataclass
class _Version(Generic[Endpoint]):
    """One version: TensorFlow Serving's words for its state, and who is using it."""

    state: str = "LOADING"
    error: str = ""
    endpoint: Endpoint | None = None
    requests: int = 0
    fingerprint: Fingerprint = ()


class ServedModel(Generic[Endpoint]):
    """One model name with its folder of versions. One thread polls, many threads answer.

    Rules, as in TensorFlow Serving: the highest number is served; a new version is loaded and
    warmed up before it takes over; the old one is let go when its last request is answered. When
    the folder of the served version disappears, the highest one that is left takes over. A version
    that cannot be loaded is reported in the status, and what was served stays. When no version is
    left, the one in memory stays too.

    Args:
        name: of the model, as in its address.
        folder: with one subfolder for each version, named by a number.
        load: gives the endpoint of a version's folder, warmed up.
    """

    def __init__(self, name: str, folder: Path, load: Load[Endpoint]) -> None:
        self.name = name
        self._folder = folder
        self._load = load
        self._lock = threading.Lock()
        self._versions: dict[int, _Version[Endpoint]] = {}
        self._serving: int | None = None

    def poll(self) -> None:
        """Compare the folder with what is served, and load what should be served."""
        for number, path in version_folders(self._folder).items():
            if number == self._serving:
                return
            fingerprint = _fingerprint(path)
            known = self._versions.get(number)
            if known and known.error and known.fingerprint == fingerprint:
                continue  # damaged, and not changed since
            if self._try_to_load(number, path, fingerprint):
                return

    def _try_to_load(self, number: int, path: Path, fingerprint: Fingerprint) -> bool:
        version = _Version[Endpoint](fingerprint=fingerprint)
        with self._lock:
            self._versions[number] = version
        try:
            endpoint = self._load(path)
        except Exception as error:  # whatever a damaged model raises goes to the status
            with self._lock:
                version.state, version.error = "END", " ".join(str(error).split())
            return False
        with self._lock:
            version.endpoint, version.state = endpoint, "AVAILABLE"
            old, self._serving = self._serving, number
            if old is not None:
                self._versions[old].state = "UNLOADING"
                self._let_go(self._versions[old])
        return True

    @contextmanager
    def use(self, number: int | None = None) -> Iterator[Endpoint]:
        """Hold on to a version while a request is answered; None takes the served one.

        Raises:
            RequestError: 404 for a version that is not served, 503 before the first is loaded.
        """
        with self._lock:
            wanted = self._serving if number is None else number
            version = self._versions.get(wanted) if wanted is not None else None
            if version is None or version.state != "AVAILABLE":
                raise self._not_served(number)
            version.requests += 1
        try:
            yield version.endpoint
        finally:
            with self._lock:
                version.requests -= 1
                self._let_go(version)

    def _let_go(self, version: _Version[Endpoint]) -> None:
        if version.state == "UNLOADING" and version.requests == 0:
            version.endpoint, version.state = None, "END"

    def _not_served(self, number: int | None) -> RequestError:
        if self._serving is None:
            errors = [f"version {key}: {each.error}" for key, each in self._versions.items()
                      if each.error]  # fmt: skip
            reason = "; ".join(errors) or "it is being loaded"
            return RequestError(f"model '{self.name}' is not ready: {reason}", 503)
        return RequestError(
            f"model '{self.name}' has no version {number}; it serves version {self._serving}", 404
        )

    def status(self, number: int | None = None) -> dict[str, Any]:
        """Describe all versions seen so far, or one, as TensorFlow Serving does.

        Raises:
            RequestError: 404 for a version that was never seen.
        """
        with self._lock:
            known = {key: (each.state, each.error) for key, each in self._versions.items()}
        if number is not None:
            if number not in known:
                raise RequestError(f"model '{self.name}' has no version {number}", 404)
            known = {number: known[number]}
        return {
            "model_version_status": [
                {
                    "version": str(key),
                    "state": state,
                    "status": {
                        "error_code": "UNKNOWN" if error else "OK",
                        "error_message": error,
                    },
                }
                for key, (state, error) in sorted(known.items(), reverse=True)
            ]
        }


def _fingerprint(folder: Path) -> Fingerprint:
    """Tell whether a folder has changed: names, sizes and times of its files."""
    files = []
    for path in sorted(folder.rglob("*")):
        try:
            found = path.stat()
        except FileNotFoundError:  # removed since it was listed
            continue
        files.append((str(path.relative_to(folder)), found.st_size, found.st_mtime_ns))
    return tuple(files)
