"""Clients that ask a server again and again, and what a request over HTTP costs them."""

from __future__ import annotations

import http.client
import json
import random
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field
from itertools import chain
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import numpy as np

from helpers.costs.statistics import NOISY_IQR_RATIO, Summary, summarize
from helpers.progress import Progress
from helpers.tables import counted, table_as_html, table_as_text

if TYPE_CHECKING:
    import pandas as pd

ROUNDS = 8
POLL_S = 0.05
COLUMNS = ["clients", "p50_us", "p90_us", "p99_us", "iqr_us", "calls", "errors", "requests_per_s"]


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


@dataclass(frozen=True)
class RequestResult(Summary):
    """The time from sending a request to having its whole answer.

    Attributes:
        calls: answered requests; see `Summary` for their times.
        clients: how many sent requests at the same time, each the next one after its last answer.
        errors: answers with another status than 200; their times are not counted.
        first_error: what the first of them was.
        requests_per_s: answered requests of all clients together, for each second of the visits.
    """

    clients: int
    errors: int
    first_error: str
    requests_per_s: float

    def warnings(self) -> Iterator[str]:
        """Say what makes the numbers doubtful."""
        who = f"Warning: {counted(self.clients, 'client')}"
        if self.errors:
            failed = counted(self.errors, "request")
            yield f"{who}: {failed} failed, the first with: {self.first_error}"
        if self.noisy:
            apart = f"{self.iqr_ratio:.0%} of the median apart (more than {NOISY_IQR_RATIO:.0%})"
            yield f"{who}: noisy: the quartiles are {apart}"


@dataclass(frozen=True, repr=False)
class RequestReport:
    """All that `measure_requests` found, with one result for each number of clients.

    The bytes are those of a request's body and of its answer's; the budget was asked for.
    """

    results: tuple[RequestResult, ...]
    payload_bytes: int
    answer_bytes: int
    budget_s: float
    measured_s: float

    def result(self, clients: int) -> RequestResult:
        """Return the result for a number of clients.

        Raises:
            KeyError: it was not measured.
        """
        by_clients = {each.clients: each for each in self.results}
        if clients not in by_clients:
            known = ", ".join(map(str, by_clients))
            raise KeyError(f"no result for {counted(clients, 'client')}; there are: {known}")
        return by_clients[clients]

    def to_frame(self) -> pd.DataFrame:
        """Return one row for each number of clients; a percentile with too few calls is NaN."""
        import pandas as pd  # here: the processes of a server import this module too

        frame = pd.DataFrame([asdict(each) for each in self.results])[COLUMNS]
        return frame.astype({"p90_us": float, "p99_us": float})

    def _remarks(self) -> list[str]:
        return [
            *chain.from_iterable(each.warnings() for each in self.results),
            f"A request has {self.payload_bytes:,} bytes, its answer {self.answer_bytes:,}.",
            "The clients run on the machine of the server and share its processors: the times hold "
            "sending, waiting, computing and receiving, and no network cable.",
            f"Measured for {self.measured_s:.1f} s (budget {self.budget_s:g} s).",
        ]

    def __repr__(self) -> str:
        return table_as_text(self.to_frame(), self._remarks())

    def _repr_html_(self) -> str:
        return table_as_html(self.to_frame(), self._remarks())


def measure_requests(
    url: str,
    payload: Any,
    *,
    clients: Sequence[int] = (1, 8),
    budget_s: float = 4.0,
    timeout_s: float = 30.0,
    seed: int = 0,
    progress: bool = True,
) -> RequestReport:
    """Send the same request again and again and time each answer, see `AskingClients`.

    The numbers of clients take turns, in a new random order each round, so that a slow moment of
    the machine hits all of them. Encoding the payload and reading the answer's JSON are not
    included.

    Args:
        url, payload, timeout_s: see `AskingClients`.
        clients: numbers of clients at a time.
        budget_s: seconds for all visits together.
        seed: of the order of the visits.
        progress: show how far it is, where a person watches.

    Raises:
        ServingError: the server gives no answer, or none with status 200.
        ValueError: no clients, or an argument out of range.
    """
    if not clients:
        raise ValueError("clients: expected whole numbers from 1 on, got none")
    if budget_s <= 0:
        raise ValueError(f"budget_s: expected a positive number of seconds, got {budget_s!r}")
    replies: dict[int, list[Reply]] = {number: [] for number in clients}
    dice = random.Random(seed)
    start = time.perf_counter()
    with Progress(progress) as line:
        for turn in range(ROUNDS):
            line.show(f"sending requests, round {turn + 1}", turn / ROUNDS)
            for number in dice.sample(list(replies), len(replies)):
                with AskingClients(url, payload, clients=number, timeout_s=timeout_s) as asking:
                    time.sleep(budget_s / ROUNDS / len(replies))
                for mine in asking.replies:
                    replies[number] += mine[1:]  # the first one has opened the connection
    measured_s = time.perf_counter() - start
    results = tuple(_result(url, number, each) for number, each in replies.items())
    answer_bytes = asking.replies[0][0].answer_bytes
    return RequestReport(results, asking.payload_bytes, answer_bytes, budget_s, measured_s)


def _result(url: str, clients: int, replies: Sequence[Reply]) -> RequestResult:
    right = np.array([each.nanoseconds for each in replies if each.status == 200])
    errors = [f"status {each.status}" for each in replies if each.status != 200]
    if not right.size:
        raise ServingError(f"{url} answers with {errors[0]}")
    # Each client is always waiting for an answer.
    seconds = sum(each.nanoseconds for each in replies) / 1e9 / clients
    return RequestResult(
        **asdict(summarize(right)),
        clients=clients,
        errors=len(errors),
        first_error=errors[0] if errors else "",
        requests_per_s=right.size / seconds,
    )
