"""How long a request over HTTP takes, for one client and for several at a time."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field
from itertools import islice
from typing import Any

import numpy as np

from helpers.latency.statistics import summarize
from helpers.progress import Progress
from helpers.serving.errors import ServingError
from helpers.serving.report import RequestReport, RequestResult
from helpers.serving.sender import LOST, Sender
from helpers.turns import random_orders

ROUNDS = 8
WARM_UP_REQUESTS = 3


@dataclass
class _Samples:
    """What was measured with one number of clients."""

    nanoseconds: list[int] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)
    seconds: float = 0.0


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
    """Send the same request again and again and time each answer.

    Each client is a thread of this process with its own open connection, and sends the next request
    when it has its answer. The time runs from sending the first byte to having the last one. The
    numbers of clients take turns, in a new random order each round, so that a slow moment of the
    machine hits all of them. Encoding the payload and reading the answer's JSON are not included.

    Args:
        url: such as ``server.url("digits")``.
        payload: the content of the request, encoded as JSON once.
        clients: numbers of clients at a time.
        budget_s: seconds for all visits together.
        timeout_s: seconds until a request without an answer counts as an error.
        seed: of the order of the visits.
        progress: show how far it is, where a person watches.

    Raises:
        ServingError: the server does not answer the first request with status 200.
        ValueError: no clients, or an argument out of range.
    """
    if not clients or any(isinstance(n, bool) or not isinstance(n, int) or n < 1 for n in clients):
        raise ValueError(f"clients: expected whole numbers from 1 on, got {clients!r}")
    if budget_s <= 0:
        raise ValueError(f"budget_s: expected a positive number of seconds, got {budget_s!r}")
    body = json.dumps(payload).encode()
    clients = tuple(dict.fromkeys(clients))
    samples = {number: _Samples() for number in clients}
    with ExitStack() as stack:
        line = stack.enter_context(Progress(progress))
        senders = [Sender(url, body, timeout_s) for _ in range(max(clients))]
        for sender in senders:
            stack.callback(sender.close)
        pool = stack.enter_context(ThreadPoolExecutor(len(senders)))
        answer_bytes = _warm_up(url, senders)
        start = time.perf_counter()
        for turn, order in enumerate(islice(random_orders(clients, seed), ROUNDS)):
            line.show(f"sending requests, round {turn + 1}", turn / ROUNDS)
            for number in order:
                _visit(pool, senders[:number], budget_s / ROUNDS / len(clients), samples[number])
        measured_s = time.perf_counter() - start
    results = tuple(_result(number, each) for number, each in samples.items())
    return RequestReport(results, len(body), answer_bytes, budget_s, measured_s)


def _warm_up(url: str, senders: Sequence[Sender]) -> int:
    """Open every connection, and return the bytes of an answer."""
    try:
        for sender in senders:
            for _ in range(WARM_UP_REQUESTS):
                status, answer = sender.send()
                if status != 200:
                    raise ServingError(f"{url} answers with status {status}: {answer[:200]!r}")
    except LOST as error:
        raise ServingError(f"{url} does not answer ({error}). Is the server running?") from error
    return len(answer)


def _visit(
    pool: ThreadPoolExecutor, senders: Sequence[Sender], seconds: float, samples: _Samples
) -> None:
    """Let some clients send requests at the same time."""
    barrier = threading.Barrier(len(senders))

    def send_until_the_end(sender: Sender) -> tuple[list[int], list[str]]:
        times, errors = [], []
        barrier.wait()
        end = time.perf_counter() + seconds
        while (before := time.perf_counter_ns()) < end * 1e9:
            try:
                status, _ = sender.send()
            except LOST as error:
                sender.close()
                errors.append(f"{type(error).__name__}: {error}")
                break
            if status == 200:
                times.append(time.perf_counter_ns() - before)
            else:
                errors.append(f"status {status}")
        return times, errors

    start = time.perf_counter()
    for times, errors in pool.map(send_until_the_end, senders):
        samples.nanoseconds += times
        samples.errors += errors
    samples.seconds += time.perf_counter() - start


def _result(clients: int, samples: _Samples) -> RequestResult:
    if not samples.nanoseconds:
        raise ServingError(f"no request was answered; the first error: {samples.errors[0]}")
    return RequestResult(
        **asdict(summarize(np.array(samples.nanoseconds))),
        clients=clients,
        errors=len(samples.errors),
        first_error=samples.errors[0] if samples.errors else "",
        requests_per_s=len(samples.nanoseconds) / samples.seconds,
    )
