"""How long a request over HTTP takes, for one client and for several at a time."""

from __future__ import annotations

import random
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from itertools import chain
from typing import TYPE_CHECKING, Any

import numpy as np

from helpers.costs.clients import AskingClients, Reply, ServingError
from helpers.costs.statistics import Summary, summarize
from helpers.progress import Progress
from helpers.tables import counted, table_as_html, table_as_text

if TYPE_CHECKING:
    import pandas as pd

ROUNDS = 8
COLUMNS = ["clients", "p50_us", "p90_us", "p99_us", "iqr_us", "calls", "errors", "requests_per_s"]


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
            yield f"{who}: {self.noise}"


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
