"""Run with ``python -m``: listens on 127.0.0.1, and hands requests to the versions' processes.

Or it runs TensorFlow Serving, where the request of the parent has its ``command``.
"""

from __future__ import annotations

import asyncio
import ipaddress
import json
import re
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from http.client import responses
from pathlib import Path
from typing import Any
from urllib.parse import unquote

from tornado.httpserver import HTTPServer
from tornado.httputil import HTTPServerRequest
from tornado.iostream import IOStream, StreamClosedError
from tornado.web import Application, RequestHandler, stream_request_body

from helpers.serving.body import RequestError
from helpers.serving.lifetime import HOST, answer, free_port, run_program, take_request
from helpers.serving.versions import ServedModel

JSON = "application/json"
TARGET = re.compile(
    r"/v1/models/(?P<model>[^/:]+)(/versions/(?P<version>[0-9]{1,18}))?(?P<part>:predict|/metadata|)"
)
MAX_CONNECTIONS = 128
DRAINED_BODIES = 16
"""Of a body that is too large, so many times the limit is read before the refusal is sent: a client
that is still sending would not see it."""


class BoundedServer(HTTPServer):
    """Tornado bounds headers, bodies and idle time; this bounds the number of connections."""

    def handle_stream(self, stream: IOStream, address: Any) -> None:
        """Refuse a connection when there are too many."""
        if len(self._connections) < MAX_CONNECTIONS:
            return super().handle_stream(stream, address)
        with suppress(StreamClosedError):
            stream.write(b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n")
        return stream.close()


@stream_request_body
class ModelHandler(RequestHandler):
    """TensorFlow Serving's REST API: predict, status and metadata."""

    def initialize(self, models: Mapping[str, ServedModel], limits: Mapping[str, Any]) -> None:
        """Take over the models, and what `start_server` was given."""
        self._models = models
        self._body_limit: int = limits["max_body_bytes"]
        self._client_s: float = limits["client_timeout_s"]
        self._body, self._size = bytearray(), 0

    async def prepare(self) -> None:
        """Refuse a body that will not even be read."""
        declared = self.request.headers.get("Content-Length", "")
        if declared.isdecimal() and float(declared) > DRAINED_BODIES * self._body_limit:
            self._size = self._body_limit + 1
            await self.get()

    def data_received(self, chunk: bytes) -> None:
        """Keep a part of the body, up to the limit."""
        self._size += len(chunk)
        if self._size <= self._body_limit:
            self._body += chunk

    async def get(self) -> None:
        """Answer, and let a client go that does not read the answer."""
        try:
            status, content = await self._answer()
        except RequestError as error:
            status, content = error.status, json.dumps({"error": str(error)})
        self.set_status(status)
        self.set_header("Content-Type", JSON)
        try:
            await asyncio.wait_for(self.finish(content), self._client_s)
        except (StreamClosedError, TimeoutError):
            self.request.connection.close()

    post = get

    async def _answer(self) -> tuple[int, str]:
        check_host(self.request)
        match = TARGET.fullmatch(self.request.path)
        if match is None:
            given = self.request.path.removeprefix("/v1/models/")
            message = "Not Found: expected NAME or NAME/versions/NUMBER after /v1/models/, got"
            raise RequestError(f"{message} '{given}'", 404)
        name, number = unquote(match["model"]), match["version"] and int(match["version"])
        if name not in self._models:
            raise RequestError(f"no model '{name}'; there are: {', '.join(self._models)}", 404)
        model, predicts = self._models[name], match["part"] == ":predict"
        if predicts != (self.request.method == "POST"):
            raise RequestError("GET asks for a status or metadata, POST for a prediction", 405)
        if not predicts:
            return 200, json.dumps((model.metadata if match["part"] else model.status)(number))
        check_content_type(self.request)
        if self._size > self._body_limit:
            limit = f"{self._body_limit} bytes, the limit of this server"
            raise RequestError(f"the body has more than {limit}", 413)
        return await model.predict(number, bytes(self._body))

    def write_error(self, status_code: int, **_: Any) -> None:
        """Say in JSON what Tornado refuses, such as an unknown method."""
        self.set_header("Content-Type", JSON)
        self.finish(json.dumps({"error": responses[status_code]}))


def check_host(request: HTTPServerRequest) -> None:
    """Refuse a page of another origin whose name leads to this machine (DNS rebinding).

    Raises:
        RequestError: 403, the request names another host than this machine.
    """
    name = request.host_name.strip("[]")
    with suppress(ValueError):
        if name == "localhost" or ipaddress.ip_address(name).is_loopback:
            return
    message = f"the request is for the host '{name}'; this server answers for localhost and {HOST}"
    raise RequestError(f"{message} only", 403)


def check_content_type(request: HTTPServerRequest) -> None:
    """Refuse what a web page of any origin can send without asking first.

    TensorFlow Serving takes every type. But a browser sends text and forms, and bytes without a
    type, to any address, and names the page in ``Origin``; for JSON it asks first, and gets no.

    Raises:
        RequestError: 415, the type is not JSON.
    """
    given = request.headers.get("Content-Type", "" if "Origin" in request.headers else JSON)
    if given.partition(";")[0].strip().lower() != JSON:
        advice = f"any web page could send that. With curl, add -H 'Content-Type: {JSON}'"
        raise RequestError(f"expected the content type {JSON}, got '{given}': {advice}", 415)


async def serve(request: Mapping[str, Any], port: int) -> None:
    """Listen, and go on looking at the folders."""
    # A thread waits for each process. The usual six would let versions that hang stop the others.
    asyncio.get_running_loop().set_default_executor(ThreadPoolExecutor(MAX_CONNECTIONS))
    models = {
        name: ServedModel(name, Path(folder), request["load_timeout_s"], request["max_rows"])
        for name, folder in request["models"].items()
    }
    handlers = [(".*", ModelHandler, {"models": models, "limits": request})]
    server = BoundedServer(
        Application(handlers, log_function=lambda handler: None),
        idle_connection_timeout=request["client_timeout_s"],
        body_timeout=request["client_timeout_s"],
        max_body_size=DRAINED_BODIES * request["max_body_bytes"],
    )
    server.listen(port, HOST)
    while True:
        for model in models.values():
            with suppress(OSError):  # a folder that cannot be read now may be readable later
                model.poll()
        await asyncio.sleep(request["poll_s"])


def main() -> None:
    """Take the request of `Server`, answer with the port, and serve."""
    request = take_request()
    try:
        port = free_port(request["port"], request["address"])
    except OSError as error:
        answer({"error": str(error)})
        return
    answer({"port": port})
    if "command" in request:
        ports = f"--rest_api_port={port}", f"--port={free_port(0, request['address'])}"
        run_program([*request["command"], *ports])
    asyncio.run(serve(request, port))


if __name__ == "__main__":
    main()
