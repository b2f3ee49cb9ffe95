"""What `measure_requests` found."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from html import escape

import pandas as pd

from helpers.formatting import counted, readable
from helpers.latency.statistics import NOISY_IQR_RATIO, Summary


@dataclass(frozen=True)
class RequestResult(Summary):
    """The time from sending a request to having its whole answer.

    Attributes:
        calls: answered requests.
        p50_us, iqr_us: median, and distance between the quartiles.
        p90_us, p95_us, p99_us: None with fewer than 64, 130 and 662 calls; see `calls_needed`.
        clients: how many sent requests at the same time, each the next one after its last answer.
        errors: requests without an answer of status 200; their times are not counted.
        first_error: what the first of them was.
        requests_per_s: answered requests of all clients together, for each second of the visits.
    """

    clients: int
    errors: int
    first_error: str
    requests_per_s: float

    @property
    def warnings(self) -> tuple[str, ...]:
        """Say what makes the numbers doubtful."""
        found = []
        if self.errors:
            found.append(
                f"{counted(self.errors, 'request')} failed, the first with: {self.first_error}"
            )
        if self.noisy:
            found.append(
                f"noisy: the quartiles are {self.iqr_ratio:.0%} of the median apart "
                f"(more than {NOISY_IQR_RATIO:.0%})"
            )
        return tuple(f"{counted(self.clients, 'client')}: {text}" for text in found)


@dataclass(frozen=True, repr=False)
class RequestReport:
    """All that `measure_requests` found.

    Attributes:
        results: one for each number of clients.
        payload_bytes: of the body of each request.
        answer_bytes: of the body of the first answer.
        budget_s: that was asked for.
        measured_s: what the visits took.
    """

    results: tuple[RequestResult, ...]
    payload_bytes: int
    answer_bytes: int
    budget_s: float
    measured_s: float

    @property
    def warnings(self) -> tuple[str, ...]:
        """What makes single results doubtful."""
        return tuple(text for result in self.results for text in result.warnings)

    def result(self, clients: int) -> RequestResult:
        """Return the result for a number of clients.

        Raises:
            KeyError: it was not measured.
        """
        for result in self.results:
            if result.clients == clients:
                return result
        known = ", ".join(str(result.clients) for result in self.results)
        raise KeyError(f"no result for {counted(clients, 'client')}; there are: {known}")

    def to_frame(self) -> pd.DataFrame:
        """Return one row for each number of clients; a percentile with too few calls is NaN."""
        columns = ["clients", "p50_us", "p90_us", "p99_us", "iqr_us", "calls", "errors",
                   "requests_per_s"]  # fmt: skip
        rows = [asdict(each) for each in self.results]
        return pd.DataFrame(rows)[columns].astype({"p90_us": float, "p99_us": float})

    def _remarks(self) -> list[str]:
        return [
            *(f"Warning: {text}" for text in self.warnings),
            f"A request has {self.payload_bytes:,} bytes, its answer {self.answer_bytes:,}.",
            "The clients run on the machine of the server and share its processors: the times hold "
            "sending, waiting, computing and receiving, and no network cable.",
            f"Measured for {self.measured_s:.1f} s (budget {self.budget_s:g} s).",
        ]

    def __repr__(self) -> str:
        table = self.to_frame().to_string(index=False, float_format=readable, na_rep="-")
        return "\n".join([table, *self._remarks()])

    def _repr_html_(self) -> str:
        table = self.to_frame().to_html(index=False, float_format=readable, na_rep="-")
        return f"{table}<ul>{''.join(f'<li>{escape(each)}</li>' for each in self._remarks())}</ul>"
