"""The server: LitServe with the addresses and bodies of TensorFlow Serving's REST API."""

# No postponed annotations here: LitServe and FastAPI read those of `decode_request`.

import json
import os
import re
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import litserve
from fastapi import Depends, HTTPException, Request, Response
from starlette.exceptions import HTTPException as AnyHTTPException

from helpers.serving.compute import Models
from helpers.serving.errors import RequestError
from helpers.workers.channel import die_with_parent

TARGET = re.compile(r"(?P<model>[^/:]+)(?:/versions/(?P<version>[0-9]{1,18}))?")
DRAINED_BODIES = 16
"""Of a body that is too large, so many times the limit is read before the refusal is sent: a client
that is still sending would not see it."""


@dataclass(frozen=True)
class Call:
    """A request of the predict API on its way to the process that computes."""

    model: str
    version: int | None
    body: bytes


async def read_call(request: Request) -> Call:
    """Read a request, in the process for HTTP."""
    model, version = parse_target(request.path_params["target"])
    limit = request.app.state.max_body_bytes
    body, size = bytearray(), 0
    async for part in request.stream():
        size += len(part)
        if size <= limit:
            body += part
        elif size > DRAINED_BODIES * limit:
            break
    if size > limit:
        raise HTTPException(413, f"the body has more than {limit} bytes, the limit of this server")
    return Call(model, version, bytes(body))


def parse_target(target: str) -> tuple[str, int | None]:
    """Take ``NAME`` or ``NAME/versions/NUMBER`` apart.

    Raises:
        HTTPException: 404 for anything else.
    """
    match = TARGET.fullmatch(target)
    if match is None:
        raise HTTPException(404, f"expected NAME or NAME/versions/NUMBER, got '{target}'")
    return match["model"], None if match["version"] is None else int(match["version"])


class PredictAPI(litserve.LitAPI):
    """Answers in the process that computes. LitServe makes a copy of this object there.

    Args:
        models: the folder of each model, by name.
        status_file: where that process writes what it serves, for the process for HTTP.
        poll_s: seconds between two looks at the folders.
        max_rows: of a request.
    """

    def __init__(
        self, models: Mapping[str, str], status_file: Path, poll_s: float, max_rows: int
    ) -> None:
        super().__init__(api_path="/v1/models/{target:path}:predict")
        self._arguments = (models, status_file, poll_s)
        self._max_rows = max_rows

    def setup(self, device: str) -> None:
        """Load the models, and go on watching their folders."""
        die_with_parent()
        self._models = Models(*self._arguments)

    def decode_request(self, request: Annotated[Call, Depends(read_call)]) -> Call:
        """Take over what `read_call` has read."""
        return request

    def predict(self, call: Call) -> bytes:
        """Answer a request with the version that it asks for."""
        try:
            with self._models.find(call.model).use(call.version) as endpoint:
                return endpoint.answer(call.body, self._max_rows)
        except RequestError as error:
            raise HTTPException(error.status, str(error)) from error

    def encode_response(self, answer: bytes) -> Response:
        """Wrap the answer."""
        return Response(answer, media_type="application/json")


def build_server(
    models: Mapping[str, str], poll_s: float, max_body_bytes: int, max_rows: int
) -> litserve.LitServer:
    """Put the server together; see `start_server` for the limits.

    Args:
        models: the folder of each model, by name.
        poll_s: seconds between two looks at the folders.
        max_body_bytes, max_rows: of a request.
    """
    os.environ["TF_CPP_MIN_LOG_LEVEL"] = "2"
    status_file = Path(tempfile.gettempdir(), "status.json")
    server = litserve.LitServer(
        PredictAPI(models, status_file, poll_s, max_rows),
        accelerator="cpu",
        timeout=False,
        disable_openapi_url=True,
    )
    server.app.state.max_body_bytes = max_body_bytes

    async def get_status(target: str) -> Response:
        model, version = parse_target(target.removesuffix("/metadata"))
        found = json.loads(status_file.read_bytes())
        if model not in found:
            raise HTTPException(404, f"no model '{model}'; there are: {', '.join(found)}")
        part = "metadata" if target.endswith("/metadata") else "status"
        return _json(_select(found[model][part], model, version))

    async def show_error(_: Request, error: AnyHTTPException) -> Response:
        return _json({"error": error.detail}, error.status_code)

    server.app.add_api_route("/v1/models/{target:path}", get_status, methods=["GET"])
    server.app.add_exception_handler(AnyHTTPException, show_error)
    return server


def _select(content: dict[str, Any], model: str, version: int | None) -> dict[str, Any]:
    """Reduce a status to one version. Metadata are those of the served version only."""
    if version is None:
        return content
    if "model_spec" in content:
        found = content if content["model_spec"]["version"] == str(version) else None
    else:
        versions = content["model_version_status"]
        kept = [each for each in versions if each["version"] == str(version)]
        found = {"model_version_status": kept} if kept else None
    if found is None:
        raise HTTPException(404, f"model '{model}' has no version {version}")
    return found


def _json(content: Any, status: int = 200) -> Response:
    return Response(json.dumps(content), status, media_type="application/json")
