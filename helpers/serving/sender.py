"""One client of a server: it sends the same request, over one open connection."""

from __future__ import annotations

import http.client
from urllib.parse import urlsplit

HEADERS = {"Content-Type": "application/json"}
LOST = (OSError, http.client.HTTPException)
"""What `Sender.send` raises when no answer comes."""


class Sender:
    """One client with a connection that stays open, as a real one has.

    Args:
        url: such as ``server.url("digits")``.
        body: of the request.
        timeout_s: seconds to wait for an answer.

    Raises:
        ValueError: no address of HTTP.
    """

    def __init__(self, url: str, body: bytes, timeout_s: float) -> None:
        parts = urlsplit(url)
        if parts.scheme != "http" or not parts.hostname:
            raise ValueError(f"url: expected http://HOST:PORT/..., got {url!r}")
        self._path = parts.path
        self._body = body
        self._connection = http.client.HTTPConnection(parts.hostname, parts.port, timeout=timeout_s)

    def send(self) -> tuple[int, bytes]:
        """Send the request; return the status and the whole answer."""
        self._connection.request("POST", self._path, self._body, HEADERS)
        response = self._connection.getresponse()
        return response.status, response.read()

    def close(self) -> None:
        """Close the connection. The next request opens it again."""
        self._connection.close()
