"""Clients of a server that go on asking, for instance while a new version is rolled out."""

from __future__ import annotations

import http.client
import json
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

POLL_S = 0.05


class ServingError(RuntimeError):
    """A server that cannot be started, has ended or gives no answer: what happened, what to do."""


@dataclass(frozen=True)
class Reply:
    """What a client got: the status of HTTP and the body's JSON; its time, and its bytes."""

    status: int
    content: Any
    nanoseconds: int = field(default=0, compare=False)
    answer_bytes: int = field(default=0, compare=False)


class AskingClients:
    """Clients that send one request again and again, each when it has its last answer.

    Use it in a ``with``: they start there, and its first line runs when each has had an answer. A
    reply with another status than 200 is a reply like the others.

    Args:
        url: such as ``server.url("digits")``.
        payload: the content of the request, encoded as JSON once.
        clients: how many, each a thread with a connection that stays open.
        timeout_s: seconds until a request counts as lost.

    Attributes:
        replies: for each client what it got so far, in order.
        payload_bytes: of the body of each request.

    Raises:
        ServingError: where the ``with`` begins or ends: a client got no answer.
        ValueError: no clients, or no address of HTTP.
    """

    def __init__(
        self, url: str, payload: Any, *, clients: int = 3, timeout_s: float = 30.0
    ) -> None:
        if isinstance(clients, bool) or not isinstance(clients, int) or clients < 1:
            raise ValueError(f"clients: expected a whole number from 1 on, got {clients!r}")
        self._url, self._timeout_s = url, timeout_s
        self._address = urlsplit(url)
        if self._address.scheme != "http" or not self._address.hostname:
            raise ValueError(f"url: expected http://HOST:PORT/..., got {url!r}")
        self._body = json.dumps(payload).encode()
        self.payload_bytes = len(self._body)
        self._stop = threading.Event()
        self.replies: list[list[Reply]] = [[] for _ in range(clients)]

    def wait_until(self, condition: Callable[[], bool], timeout_s: float = 60.0) -> None:
        """Wait until a condition holds, and until each client has sent a request after that.

        Raises:
            ServingError: a client got no answer, or the time is over.
        """
        end = time.monotonic() + timeout_s
        while not condition():
            self._pause(end, f"the condition did not hold within {timeout_s:g} s")
        # One answer may have been on its way; the next one was asked for after that.
        enough = [len(mine) + 2 for mine in self.replies]
        while any(len(mine) < number for mine, number in zip(self.replies, enough, strict=True)):
            self._pause(end, f"a client got no new answer within {timeout_s:g} s")

    def _pause(self, end: float, late: str) -> None:
        for task in self._tasks:
            if task.done():
                task.result()
        if time.monotonic() > end:
            raise ServingError(late)
        time.sleep(POLL_S)

    def _keep_asking(self, mine: list[Reply]) -> None:
        host, port, path = self._address.hostname, self._address.port, self._address.path
        connection = http.client.HTTPConnection(host, port, timeout=self._timeout_s)
        try:
            while not self._stop.is_set():
                start = time.perf_counter_ns()
                connection.request("POST", path, self._body, {"Content-Type": "application/json"})
                response = connection.getresponse()
                body = response.read()
                took = time.perf_counter_ns() - start
                mine.append(Reply(response.status, json.loads(body), took, len(body)))
        except (OSError, http.client.HTTPException, ValueError) as error:
            raise ServingError(f"{self._url} gave no answer in JSON ({error})") from error
        finally:
            connection.close()

    def __enter__(self) -> AskingClients:
        self._pool = ThreadPoolExecutor(len(self.replies))
        self._tasks = [self._pool.submit(self._keep_asking, mine) for mine in self.replies]
        try:
            self.wait_until(lambda: True)
        except BaseException:  # an interrupt too must not leave them asking
            self.__exit__(BaseException)
            raise
        return self

    def __exit__(self, kind: object, *_: object) -> None:
        self._stop.set()
        self._pool.shutdown()
        for task in self._tasks if kind is None else ():
            task.result()
