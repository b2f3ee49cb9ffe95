"""What clients got while replicas and hosts of a model server were replaced and killed."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from helpers.tables import table_as_html, table_as_text

if TYPE_CHECKING:
    import pandas as pd

STORED = Path(__file__).with_name("fault_report.json")
"""The run that lesson 2 shows; ``make scale SCALE_ARGS=--store`` writes it."""
COLUMNS = ["client", "name", "requests", "lost", "retried", "wrong", "by_host"]
SECONDS = ["p50_ms", "p99_ms", "disturbed_s", "whole_s"]


@dataclass(frozen=True)
class FaultPhase:
    """One part of the story, seen by one kind of client.

    Attributes:
        name: what happened, such as "a host killed".
        client: "without retry" or "with retry".
        requests: that were sent.
        lost: requests whose last answer was no status 200, or that got none.
        wrong: answers of status 200 that were not the model's.
        retried: requests that were sent more than once.
        first_error: what the first lost one got; empty without one.
        p50_ms, p99_ms: of the answered requests, all tries of one included; None without an answer,
            p99 also with fewer than 662.
        hosts: answers by the address of the host that gave them.
        versions: the versions of the model that answered.
        disturbed_s: from the event to the end of the last request that was lost or retried; None
            when no request was.
        whole_s: from the event until the engine had replaced what was lost, or taken it out of
            service where it could not; None where nothing was to be replaced.
    """

    name: str
    client: str
    requests: int
    lost: int
    wrong: int
    retried: int
    first_error: str
    p50_ms: float | None
    p99_ms: float | None
    hosts: Mapping[str, int]
    versions: tuple[str, ...]
    disturbed_s: float | None
    whole_s: float | None


@dataclass(frozen=True)
class Second:
    """What the clients got in one second.

    Attributes:
        at_s: seconds since the start.
        answered, lost, retried: requests that ended in it; a retried one is also one of the others.
        replicas: that ran, as the engine told it; None where it was not asked.
    """

    at_s: int
    answered: int
    lost: int
    retried: int
    replicas: int | None = None


@dataclass(frozen=True, repr=False)
class FaultReport:
    """All that one run of ``make scale`` measured.

    Attributes:
        phases: in order.
        seconds: in which clients asked.
        events: what happened when, in seconds since the start.
        peak_memory_mib: of all processes together (PSS).
        scored: of the offline scoring: blocks, lost, wrong, images_per_s, killed.
        machine, engine: where it was measured and with what.
        date: such as "2026-11-26".
        run_s: seconds that the whole run took.
    """

    phases: tuple[FaultPhase, ...]
    seconds: tuple[Second, ...]
    events: tuple[tuple[float, str], ...]
    peak_memory_mib: float
    scored: Mapping[str, float]
    machine: str
    engine: str
    date: str
    run_s: float

    @property
    def hosts(self) -> tuple[str, ...]:
        """The addresses of all hosts that answered."""
        return tuple(sorted({host for phase in self.phases for host in phase.hosts}))

    def total(self, client: str) -> dict[str, int]:
        """Add up requests, lost, wrong and retried for one kind of client."""
        mine = [phase for phase in self.phases if phase.client == client]
        names = ("requests", "lost", "wrong", "retried")
        return {name: sum(getattr(phase, name) for phase in mine) for name in names}

    def to_frame(self) -> pd.DataFrame:
        """Return one row for each phase."""
        import pandas as pd  # here: the processes of a server import this module too

        rows = pd.DataFrame([asdict(phase) for phase in self.phases])
        rows["by_host"] = [
            " + ".join(str(phase.hosts.get(host, 0)) for host in self.hosts)
            for phase in self.phases
        ]
        rows = rows[COLUMNS + SECONDS].astype(dict.fromkeys(SECONDS, float))
        return rows.rename(columns={"name": "what happened"})

    def save(self, path: str | Path) -> None:
        """Write everything as JSON."""
        lines = [f"{json.dumps(key)}: {json.dumps(value)}" for key, value in asdict(self).items()]
        Path(path).write_text("{\n" + ",\n".join(lines) + "\n}\n", encoding="utf-8")

    @classmethod
    def load(cls, path: str | Path) -> FaultReport:
        """Read what `save` wrote.

        Raises:
            ValueError: the file holds something else.
        """
        try:
            content = json.loads(Path(path).read_text(encoding="utf-8"))
            phases = [{**each, "versions": tuple(each["versions"])} for each in content["phases"]]
            content["phases"] = tuple(FaultPhase(**each) for each in phases)
            content["seconds"] = tuple(Second(**each) for each in content["seconds"])
            content["events"] = tuple((at, text) for at, text in content["events"])
            return cls(**content)
        except (KeyError, TypeError, AttributeError, ValueError) as error:
            raise ValueError(f"{path}: expected a report of make scale, got {error}") from error

    def _remarks(self) -> list[str]:
        return [
            f"Measured on {self.date} in {self.run_s:.0f} s with {self.engine} on {self.machine}; "
            f"at most {self.peak_memory_mib / 1024:.1f} GiB of memory.",
            "lost: no answer of status 200 in the end. retried: sent more than once. wrong: not "
            "the model's answer. by_host: answers of "
            f"{' and '.join(self.hosts) or 'no host'}.",
            "disturbed_s: seconds from the event to the last request that it touched. whole_s: "
            "seconds until the engine had replaced what was lost, or no longer used a lost host.",
        ]

    def __repr__(self) -> str:
        return table_as_text(self.to_frame(), self._remarks())

    def _repr_html_(self) -> str:
        return table_as_html(self.to_frame(), self._remarks())


def stored_fault_report() -> FaultReport:
    """Return the stored run of ``make scale``. Nothing is measured."""
    return FaultReport.load(STORED)
