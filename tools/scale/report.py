"""From what the clients noted to the table, the figure and the verdict."""

from __future__ import annotations

import os
import platform
import re
import time
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from datetime import datetime
from importlib.metadata import distributions
from math import inf
from pathlib import Path
from typing import TYPE_CHECKING, Any

from helpers.costs.fault_report import FaultPhase, FaultReport, Second
from helpers.plots.serving import plot_faults
from helpers.plots.style import save
from helpers.tables import counted
from tools.scale.load import Answer, percentile_ms
from tools.scale.supervisor import FIGURE, REPORT
from tools.scale.verdict import check_promises

if TYPE_CHECKING:
    from tools.scale.story import Phase, Story

P50_NEEDED, P99_NEEDED = 1, 662
ENGINE_PACKAGES = ("ray", "onnxruntime", "distributed")


def finish(found: dict[str, Any], output: Path, machine_network: str) -> int:
    """Print the table and the verdict, write both files; return the exit code.

    Args:
        found: what `Story.run` returned.
        output: the folder for the files.
        machine_network: the network namespace in which nothing may run.
    """
    report = build_report(found["story"], found["watch"], found["scored"])
    report.save(output / REPORT)
    save(plot_faults(report), output / FIGURE)
    print(f"\n{report}\n")
    for promise in (promises := check_promises(report, found["watch"].networks, machine_network)):
        print(promise)
    return 0 if all(promise.holds for promise in promises) else 1


def build_report(story: Story, watch: Any, scored: dict[str, float]) -> FaultReport:
    """Put the notes of a run together."""
    by_client: dict[str, list[Answer]] = {}
    for load in story.loads:
        by_client.setdefault(load.client, []).extend(load.answers)
    phases = tuple(
        summarize_phase(phase, end_s, by_client[phase.client])
        for phase, end_s in zip(story.phases, phase_ends(story.phases), strict=True)
    )
    answers = [answer for mine in by_client.values() for answer in mine]
    return FaultReport(
        phases=phases,
        seconds=count_seconds(answers, watch.replicas, story.start_s, story.spans),
        events=tuple((round(at - story.start_s, 2), text) for at, text in story.events),
        peak_memory_mib=round(watch.peak_mib),
        scored=scored,
        machine=describe_machine(),
        engine=describe_engine(story.binaries.parent),
        date=datetime.now().date().isoformat(),
        run_s=round(time.monotonic() - story.start_s, 1),
    )


def phase_ends(phases: Sequence[Phase]) -> list[float]:
    """Return for each phase the time when the next one of the same clients begins.

    So no request falls between two phases: a promise about all of them can be added up.
    """
    return [
        next((each.start_s for each in phases[number:] if each.client == phase.client), inf)
        for number, phase in enumerate(phases, start=1)
    ]


def summarize_phase(phase: Phase, end_s: float, answers: Sequence[Answer]) -> FaultPhase:
    """Count what clients got for the requests that ended in a phase.

    Requests on their way when a phase begins belong to it: its event is what can hit them.

    Args:
        phase: its first one begins when its clients do.
        end_s: see `phase_ends`.
        answers: of this kind of client, in any order.
    """
    mine = [each for each in answers if phase.start_s <= each.end_s < end_s]
    lost = [each for each in mine if each.error]
    touched = [each.end_s - phase.start_s for each in mine if each.error or each.tries > 1]
    good = [each for each in mine if not each.error]
    return FaultPhase(
        name=phase.name,
        client=phase.client,
        requests=len(mine),
        lost=len(lost),
        wrong=sum(not each.right for each in good),
        retried=sum(each.tries > 1 for each in mine),
        first_error=lost[0].error if lost else "",
        p50_ms=percentile_ms(mine, 50, P50_NEEDED),
        p99_ms=percentile_ms(mine, 99, P99_NEEDED),
        hosts=dict(sorted(Counter(each.host for each in good).items())),
        versions=tuple(sorted({each.version for each in good})),
        disturbed_s=max(touched) if touched else None,
        whole_s=phase.whole_s,
    )


def count_seconds(
    answers: Sequence[Answer],
    replicas: Sequence[tuple[float, int]],
    start_s: float,
    spans: Sequence[tuple[float, float]],
) -> tuple[Second, ...]:
    """Count each second in which clients asked; the others are left out.

    Args:
        answers: of all clients.
        replicas: times and how many ran.
        start_s: of the run.
        spans: from when to when clients asked.
    """
    answered, lost, retried = Counter[int](), Counter[int](), Counter[int]()
    for each in answers:
        second = int(each.end_s - start_s)
        (lost if each.error else answered)[second] += 1
        retried[second] += each.tries > 1
    running = {int(at - start_s): count for at, count in replicas}
    asked = {second for begin, end in spans
             for second in range(int(begin - start_s), int(end - start_s) + 1)}  # fmt: skip
    return tuple(
        Second(at, answered[at], lost[at], retried[at], running.get(at))
        for at in sorted(asked | set(answered) | set(lost))
    )


def describe_machine() -> str:
    """Name the processor and count what this process may use; no name of the machine itself."""
    model = platform.machine()
    with suppress(OSError):
        match = re.search(r"^model name\s*: (.+)$", Path("/proc/cpuinfo").read_text(), re.MULTILINE)
        model = match[1] if match else model
    return f"{counted(len(os.sched_getaffinity(0)), 'processor')} ({model})"


def describe_engine(environment: Path) -> str:
    """Name the versions of what is installed in the Ray environment."""
    folders = [str(path) for path in environment.glob("lib/python*/site-packages")]
    found = {each.name.lower(): each.version for each in distributions(path=folders)}
    return ", ".join(f"{name} {found.get(name, 'unknown')}" for name in ENGINE_PACKAGES)
