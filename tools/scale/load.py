"""Clients that ask without a pause while something happens, and what each of them got."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import urllib3
from urllib3 import PoolManager, Retry

TOLERANCE = 1e-5
"""Between a probability over HTTP and Keras' own: other programs, another order of additions."""
PERIOD_S = 0.025
"""Seconds between two requests of one client, where its last answer came in time."""
HEADERS = {"Content-Type": "application/json"}
TIMEOUT = urllib3.Timeout(connect=2.0, read=10.0)
RETRIED = "with retry"
PLAIN = "without retry"


def plain_client() -> PoolManager:
    """Return a client that takes the first answer, or error, as the last."""
    return PoolManager(retries=False, timeout=TIMEOUT)


def retrying_client() -> PoolManager:
    """Return a client that asks again after status 5xx and after a connection that failed.

    `allowed_methods=None` lets it repeat POST too. That is safe here: predict changes nothing.
    """
    retry = Retry(10, backoff_factor=0.05, status_forcelist=[500, 502, 503, 504],
                  allowed_methods=None)  # fmt: skip
    return PoolManager(retries=retry, timeout=TIMEOUT)


CLIENTS: dict[str, Callable[[], PoolManager]] = {PLAIN: plain_client, RETRIED: retrying_client}


@dataclass(frozen=True)
class Answer:
    """What became of one request.

    Attributes:
        start_s, end_s: by `time.monotonic`.
        error: why it is lost; empty for status 200.
        host, version: that answered.
        right: the answer is the model's own.
        tries: how often the request was sent.
    """

    start_s: float
    end_s: float
    error: str = ""
    host: str = ""
    version: str = ""
    right: bool = False
    tries: int = 1


class Questions:
    """Requests with one test image each, and the answers that are right.

    Args:
        file: what `model_files` wrote beside the models.
    """

    def __init__(self, file: Path) -> None:
        with np.load(file) as arrays:
            self.images = arrays["images"]
            self._expected = {name: arrays[name] for name in ("1", "2")}
        self.bodies = [json.dumps({"instances": [image.tolist()]}).encode()
                       for image in self.images]  # fmt: skip

    def is_right(self, number: int, version: str, body: bytes) -> bool:
        """Compare the answer for one image with Keras' answer for the same version."""
        (row,) = json.loads(body)["predictions"]
        expected = self._expected[version][number]
        difference = np.abs(np.array(row["probabilities"]) - expected).max()
        return row["class"] == expected.argmax() and bool(difference <= TOLERANCE)


def ask_once(client: PoolManager, url: str, questions: Questions, number: int) -> Answer:
    """Send one image and judge the answer."""
    start = time.monotonic()
    try:
        reply = client.request("POST", url, body=questions.bodies[number], headers=HEADERS)
    except urllib3.exceptions.HTTPError as error:
        # A retrying client that gives up has sent the request once more than it may retry.
        return Answer(start, time.monotonic(), f"{type(error).__name__}: {error}")
    end = time.monotonic()
    tries = 1 + (len(reply.retries.history) if reply.retries else 0)
    host, version = reply.headers.get("x-host", ""), reply.headers.get("x-model-version", "")
    if reply.status != 200:
        text = " ".join(reply.data[:200].decode(errors="replace").split())
        return Answer(start, end, f"status {reply.status}: {text}", host, version, tries=tries)
    right = questions.is_right(number, version, reply.data)
    return Answer(start, end, "", host, version, right, tries)


@dataclass
class Load:
    """Several clients that ask at the same time. Use it in a ``with``: they stop at its end.

    Args:
        url: of the model.
        questions: what they ask.
        client: "without retry" or "with retry".
        clients: how many, each a thread with its own connection.
        period_s: between two requests of one client; 0 asks as fast as answers come.

    Attributes:
        answers: of all clients so far.
        failures: what went wrong in a client itself; the first one is raised at the end.
        span: from when to when they asked.
    """

    url: str
    questions: Questions
    client: str = PLAIN
    clients: int = 4
    period_s: float = PERIOD_S
    answers: list[Answer] = field(default_factory=list)
    failures: list[Exception] = field(default_factory=list)

    @property
    def span(self) -> tuple[float, float]:
        """From the first question to the last answer, by `time.monotonic`."""
        return self._start_s, max((each.end_s for each in self.answers), default=self._start_s)

    def _ask(self, first: int) -> None:
        pool = CLIENTS[self.client]()
        number = first
        try:
            while not self._stop.is_set():
                number = (number + 7) % len(self.questions.bodies)
                answer = ask_once(pool, self.url, self.questions, number)
                self.answers.append(answer)  # a list takes it from any thread
                self._stop.wait(max(0.0, self.period_s - (answer.end_s - answer.start_s)))
        except Exception as error:
            self.failures.append(error)
        finally:
            pool.clear()

    def __enter__(self) -> Load:
        self._stop = threading.Event()
        self._start_s = time.monotonic()
        self._threads = [
            threading.Thread(target=self._ask, args=(31 * number,), daemon=True)
            for number in range(self.clients)
        ]
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, kind: object, *_: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()
        if self.failures and kind is None:
            raise self.failures[0]


def percentile_ms(answers: Sequence[Answer], percent: float, needed: int) -> float | None:
    """Return a percentile of the times of answered requests; None with fewer than needed."""
    times = [1e3 * (each.end_s - each.start_s) for each in answers if not each.error]
    return float(np.percentile(times, percent)) if len(times) >= needed else None
