"""The parent's side: start a server process, wait until it answers, end it."""

from __future__ import annotations

import http.client
import importlib.util
import json
import math
import shutil
import tempfile
import time
from collections.abc import Iterable, Mapping
from contextlib import closing, suppress
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit

from helpers.costs.clients import ServingError
from helpers.costs.process import Worker, WorkerError
from helpers.serving.folders import find_models
from helpers.serving.lifetime import HOST, LIFE_OVER

POLL_S = 0.05
STATUS_TIMEOUT_S = 5.0
TENSORFLOW_SERVING = "tensorflow_model_server"


class Server:
    """A running server. Use it in a ``with``, or call `stop`.

    It also ends when this process ends in any way, when nothing refers to this object any more, and
    when its life is over: the pipe to it closes, or its own clock runs out.

    Attributes:
        port: on 127.0.0.1.
        process_id: of the server.
        models: the names that it serves.
    """

    def __init__(self, request: Mapping[str, Any], models: Iterable[str]) -> None:
        timeout_s = request["ready_timeout_s"]
        deadline = time.monotonic() + timeout_s
        self.models = tuple(models)
        self._life_s = request["life_s"]
        self._folder = tempfile.TemporaryDirectory(prefix="serving_", ignore_cleanup_errors=True)
        self._worker = Worker("helpers.serving.http_server", Path(self._folder.name))
        self.process_id = self._worker.process_id
        try:
            answer = self._worker.ask({**request, "folder": self._folder.name}, timeout_s)
            self.port: int = answer["port"]
            for model in self.models:
                self._wait_until_ready(model, deadline, timeout_s)
        except WorkerError as error:
            self.stop()
            raise ServingError(f"the server did not start: {error}") from error
        except BaseException:  # an interrupt too must not leave it running
            self.stop()
            raise

    def url(self, model: str, version: int | None = None, action: str = ":predict") -> str:
        """Return the address of a model's version; None stands for the served one.

        The action is what follows it: ":predict", "/metadata", or "" for its status.

        Raises:
            ServingError: no such model, or the server has ended; the message says why.
        """
        self.check()
        if model not in self.models:
            raise ServingError(f"no model '{model}' is served; there are: {', '.join(self.models)}")
        middle = "" if version is None else f"/versions/{version}"
        return f"http://{HOST}:{self.port}/v1/models/{quote(model, safe='')}{middle}{action}"

    def check(self) -> None:
        """Raise ServingError when the server has ended, with its reason or the end of its log."""
        if self._worker is None:
            raise ServingError("the server was stopped. Start a new one with start_server(...).")
        if self._worker.exit_code is None:
            return
        if LIFE_OVER in self._worker.log_tail():
            raise ServingError(
                f"the server ended after its life of {self._life_s:g} s. Start it again, or give "
                "it a longer one with life_s=..."
            )
        raise ServingError(f"the server has ended: {self._worker.failure()}")

    def stop(self) -> None:
        """End the server at once. It can be called again."""
        if self._worker is not None:
            self._worker.close()
            self._folder.cleanup()
            self._worker = None

    def _wait_until_ready(self, model: str, deadline: float, timeout_s: float) -> None:
        while True:
            versions = self._read_status(model)
            if any(each["state"] == "AVAILABLE" for each in versions):
                return
            if versions and all(each["state"] == "END" for each in versions):
                errors = "; ".join(each["status"]["error_message"] for each in versions)
                raise ServingError(f"model '{model}' cannot be served: {errors}")
            if time.monotonic() > deadline:
                raise ServingError(
                    f"model '{model}' was not ready within {timeout_s:g} s"
                    f"{self._worker.log_tail()}. Give it more time with ready_timeout_s=..."
                )
            time.sleep(POLL_S)

    def _read_status(self, model: str) -> list[dict[str, Any]]:
        """Ask for the versions of a model; a server that does not listen yet has none."""
        connection = http.client.HTTPConnection(HOST, self.port, timeout=STATUS_TIMEOUT_S)
        with closing(connection), suppress(OSError, http.client.HTTPException):
            connection.request("GET", urlsplit(self.url(model, action="")).path)
            return json.loads(connection.getresponse().read()).get("model_version_status", [])
        return []

    def __enter__(self) -> Server:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def __repr__(self) -> str:
        if self._worker is None or self._worker.exit_code is not None:
            return "Server(ended)"
        return f"Server(http://{HOST}:{self.port}, models: {', '.join(self.models)})"


def start_server(
    folder: str | Path,
    *,
    port: int = 0,
    life_s: float = 600.0,
    ready_timeout_s: float = 120.0,
    load_timeout_s: float = 60.0,
    client_timeout_s: float = 30.0,
    poll_s: float = 0.5,
    max_body_bytes: int = 4 * 2**20,
    max_rows: int = 1024,
) -> Server:
    """Serve every model of a folder on 127.0.0.1, and wait until all of them answer.

    The server has its own processes, one for each version; TensorFlow is loaded there, not here.

    Args:
        folder: holds ``NAME/VERSION/``, such as ``digits/1/`` with a SavedModel inside.
        port: 0 takes one that is free.
        life_s: seconds after which the server ends by itself.
        ready_timeout_s: seconds until every model must answer.
        load_timeout_s: seconds until a version must be loaded; then the next lower one is tried.
        client_timeout_s: seconds that a client may take to send a request, and to read an answer.
        poll_s: seconds between two looks at the folder for new and removed versions.
        max_body_bytes: of a request; a larger one is refused with status 413.
        max_rows: of a request; likewise.

    Raises:
        ServingError: the port is taken, the folder holds no version that can be loaded, TensorFlow
            is not installed, or the server ended before it was ready.
        ValueError: an argument out of range.
    """
    request = check_arguments(
        port=port, life_s=life_s, ready_timeout_s=ready_timeout_s, load_timeout_s=load_timeout_s,
        client_timeout_s=client_timeout_s, poll_s=poll_s, max_body_bytes=max_body_bytes,
        max_rows=max_rows,
    )  # fmt: skip
    models = {name: str(path) for name, path in find_models(folder).items()}
    for package in ("tensorflow", "tornado"):
        if importlib.util.find_spec(package) is None:
            raise ServingError(
                f"the package {package} is not installed in this environment, and the server needs "
                "it. Install the packages of this series, as the README says."
            )
    return Server({**request, "models": models, "address": HOST}, models)


def start_tensorflow_serving(
    folder: str | Path,
    *,
    all_addresses: bool,
    port: int = 0,
    life_s: float = 600.0,
    ready_timeout_s: float = 120.0,
) -> Server:
    """Serve the one model of a folder with ``tensorflow_model_server`` from the PATH.

    The program does not come from a Python package registry: it is in the Docker image
    ``tensorflow/serving`` and in packages of its own for Linux.

    **It cannot be bound to 127.0.0.1**: its REST and gRPC ports listen at every address of the
    machine, and no option changes that (https://github.com/tensorflow/serving/issues/1969). So
    `all_addresses` must say that this is meant. To stay on this machine, run it in Docker, which
    can publish the port to 127.0.0.1 only: ``docker run -p 127.0.0.1:8501:8501 ...``.

    For `port` (of the REST API), `life_s` and `ready_timeout_s` see `start_server`.

    Raises:
        ServingError: the program is not on the PATH, the folder holds no model or several, the port
            is taken, `all_addresses` is not True, or the server ended before it was ready.
        ValueError: an argument out of range.
    """
    request = check_arguments(port=port, life_s=life_s, ready_timeout_s=ready_timeout_s)
    if all_addresses is not True:
        raise ServingError(
            f"{TENSORFLOW_SERVING} listens at every address of this machine and has no option to "
            "listen on 127.0.0.1 only. Pass all_addresses=True if a firewall protects the machine, "
            "or use Docker with -p 127.0.0.1:8501:8501."
        )
    program = shutil.which(TENSORFLOW_SERVING)
    if program is None:
        raise ServingError(
            f"{TENSORFLOW_SERVING} is not on the PATH. Install TensorFlow Serving, run its Docker "
            "image, or use start_server(...), which needs Python packages only."
        )
    models = find_models(folder)
    if len(models) != 1:
        raise ServingError(
            f"{folder}: expected one model, got {', '.join(models)}. Several models need a "
            "configuration file of TensorFlow Serving."
        )
    ((name, path),) = models.items()
    flags = [f"--model_name={name}", f"--model_base_path={path.resolve()}"]
    command = [program, *flags, "--file_system_poll_wait_seconds=1"]
    return Server({**request, "command": command, "address": ""}, models)


def check_arguments(*, port: int, **numbers: float) -> dict[str, float]:
    """Return the arguments.

    Raises:
        ValueError: `port` is neither 0 nor one that needs no special rights, or one of the other
            numbers is not above 0, or infinite.
    """
    if isinstance(port, bool) or not isinstance(port, int) or port not in (0, *range(1024, 2**16)):
        raise ValueError(f"port: expected 0 or a number from 1024 to 65535, got {port!r}")
    for name, value in numbers.items():
        if isinstance(value, bool) or not 0 < value < math.inf:
            raise ValueError(f"{name}: expected a number above 0, got {value!r}")
    return {"port": port, **numbers}
