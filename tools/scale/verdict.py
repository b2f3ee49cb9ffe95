"""Which promises of the run hold. What a client without retry loses is shown and not promised."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from helpers.costs.fault_report import FaultReport
from helpers.tables import counted
from tools.scale.load import PLAIN, RETRIED

MEMORY_LIMIT_MIB = 3 * 1024


@dataclass(frozen=True)
class Promise:
    """One promise.

    Attributes:
        text: what was promised.
        holds: whether it was kept.
        finding: what was seen.
    """

    text: str
    holds: bool
    finding: str

    def __str__(self) -> str:
        return f"{'kept  ' if self.holds else 'BROKEN'}  {self.text}: {self.finding}"


def check_promises(
    report: FaultReport, networks: Mapping[str, int], machine_network: str
) -> list[Promise]:
    """Compare a run with what was promised.

    Args:
        report: of the run.
        networks: how many processes of the run were seen in each network namespace.
        machine_network: the namespace of the machine itself.
    """
    retried, plain = report.total(RETRIED), report.total(PLAIN)
    wrong, requests = (retried[name] + plain[name] for name in ("wrong", "requests"))
    hosts = report.hosts
    outside = networks.get(machine_network, 0)
    inside = sum(networks.values()) - outside
    scored, memory_mib = report.scored, report.peak_memory_mib
    unharmed = scored["lost"] == scored["wrong"] == 0 and scored["killed"] >= 1
    rows = [
        ("with a client that retries, no request is lost",
         retried["lost"] == 0 and retried["requests"] > 0,
         f"{retried['lost']:,} of {retried['requests']:,}"),
        ("every answer is the model's own", wrong == 0 and requests > 0,
         f"{wrong:,} wrong of {requests:,}"),
        ("both hosts answer", len(hosts) == 2, ", ".join(hosts) or "none"),
        ("no process of the run can be reached from outside", outside == 0 and inside > 0,
         f"{counted(inside, 'process')} inside the two hosts, {outside} outside"),
        ("offline scoring loses no block and changes none, with a worker killed", unharmed,
         f"{scored['lost']:g} lost and {scored['wrong']:g} wrong of {scored['blocks']:g}"),
        ("at most 3 GB of memory", memory_mib <= MEMORY_LIMIT_MIB, f"{memory_mib / 1024:.2f} GiB"),
    ]  # fmt: skip
    return [Promise(*row) for row in rows]
