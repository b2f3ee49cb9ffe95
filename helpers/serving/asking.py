"""Clients that go on asking while something happens to a server, such as a rollout."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from typing import Any

from helpers.serving.errors import ServingError
from helpers.serving.sender import LOST, Sender

POLL_S = 0.05


@dataclass(frozen=True)
class Reply:
    """What a client got.

    Attributes:
        status: of HTTP.
        content: of the body's JSON.
    """

    status: int
    content: Any


class AskingClients:
    """Clients that send one request again and again, each when it has its last answer.

    Use it in a ``with``: they start there, and its first line runs when each has had an answer. A
    reply with another status than 200 is a reply like the others.

    Args:
        url: such as ``server.url("digits")``.
        payload: the content of the request, encoded as JSON once.
        clients: how many, each a thread with its own open connection.
        timeout_s: seconds until a request counts as lost.

    Attributes:
        replies: for each client what it got so far, in order.

    Raises:
        ServingError: where the ``with`` begins or ends: a client got no answer.
        ValueError: no clients, or no address of HTTP.
    """

    def __init__(
        self, url: str, payload: Any, *, clients: int = 3, timeout_s: float = 30.0
    ) -> None:
        if isinstance(clients, bool) or not isinstance(clients, int) or clients < 1:
            raise ValueError(f"clients: expected a whole number from 1 on, got {clients!r}")
        body = json.dumps(payload).encode()
        self._url = url
        self._senders = [Sender(url, body, timeout_s) for _ in range(clients)]
        self._stop = threading.Event()
        self.replies: list[list[Reply]] = [[] for _ in self._senders]

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

    def _keep_asking(self, sender: Sender, mine: list[Reply]) -> None:
        with closing(sender):
            while not self._stop.is_set():
                try:
                    status, body = sender.send()
                    mine.append(Reply(status, json.loads(body)))
                except (*LOST, ValueError) as error:
                    raise ServingError(f"{self._url} gave no answer in JSON ({error})") from error

    def __enter__(self) -> AskingClients:
        self._pool = ThreadPoolExecutor(len(self._senders))
        self._tasks = [
            self._pool.submit(self._keep_asking, sender, mine)
            for sender, mine in zip(self._senders, self.replies, strict=True)
        ]
        try:
            self.wait_until(lambda: True)
        except BaseException:  # an interrupt too must not leave them asking
            self._end()
            raise
        return self

    def __exit__(self, kind: object, *_: object) -> None:
        self._end()
        if kind is None:
            for task in self._tasks:
                task.result()

    def _end(self) -> None:
        self._stop.set()
        self._pool.shutdown()
