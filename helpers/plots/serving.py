"""The figures about answers over HTTP."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from helpers.costs.statistics import Summary
from helpers.plots import style
from helpers.plots.style import BLUE, GREEN, GREY, HATCHES, ORANGE, PALETTE, new_figure, styled
from helpers.tables import counted

if TYPE_CHECKING:
    from helpers.serving import FaultReport, RequestReport


@styled()
def plot_request_latency(report: RequestReport, in_process: Summary) -> Figure:
    """Draw the median time of an answer: without a server, and over HTTP by number of clients.

    A line goes on to the 90th percentile, where there are enough calls for one.

    Args:
        report: of `measure_requests`.
        in_process: of calls of the same model in this process.
    """
    over_http = {f"over HTTP, {counted(each.clients, 'client')}": each for each in report.results}
    bars = {"in this process": in_process} | over_http
    medians = [each.p50_us / 1e3 for each in bars.values()]
    tails = [(each.p90_us or each.p50_us) / 1e3 for each in bars.values()]
    figure = new_figure(7.0, 0.9 + 0.5 * len(bars))
    axes = figure.subplots()
    look = {"color": np.resize(PALETTE, len(bars)), "hatch": np.resize(HATCHES, len(bars))}
    style.draw_bars(axes, list(bars), medians, edgecolor="white", **look)
    for row, line in enumerate(zip(medians, tails, strict=True)):
        axes.plot(line, [row, row], color=GREY, marker="|", markersize=9)
    ends = [tail + 0.02 * max(tails) for tail in tails]
    style.write_behind(axes, ends, [f"{median:.2g} ms" for median in medians], room=1.18 / 1.02)
    axes.set_xlabel("time of an answer (ms): bar to the median, line to the 90th percentile")
    return figure


@styled()
def plot_request_scaling(report: RequestReport) -> Figure:
    """Draw what more clients at a time bring, answers a second, and what each of them waits.

    Args:
        report: of `measure_requests` with several numbers of clients.
    """
    clients = [each.clients for each in report.results]
    together = [each.requests_per_s for each in report.results]
    waits = [each.p50_us / 1e3 for each in report.results]
    figure = new_figure(7.5, 2.8)
    left, right = figure.subplots(1, 2)
    left.plot(clients, together, color=BLUE, marker="o")
    left.set(title="answers / s, all clients", ylim=(0, 1.1 * max(together)))
    right.plot(clients, waits, color=ORANGE, marker="s")
    right.set(title="median wait of a client (ms)", ylim=(0, 1.1 * max(waits)))
    for axes in (left, right):
        axes.set_xscale("log", base=2)
        axes.set_xticks(clients, map(str, clients))
        axes.set_xlabel("clients at a time")
    return figure


@styled()
def plot_faults(report: FaultReport) -> Figure:
    """Draw a run of ``make scale``: answers a second, below them what failed, and the replicas.

    Events are numbered lines; their names stand beside the figure. Kills are drawn solid. The
    lines have gaps where no client asked.
    """
    figure = new_figure(10.0, 4.6)
    above, below, replicas = figure.subplots(3, 1, sharex=True, height_ratios=[3, 1.4, 1])
    seconds = pd.DataFrame(report.seconds).set_index("at_s")
    _draw_steps(above, seconds["answered"], BLUE)
    above.set_ylabel("answers / s")
    for name, color, marker in [("lost", ORANGE, "X"), ("retried", GREY, "o")]:
        below.plot(seconds[name].where(seconds[name] > 0), marker, color=color, label=name)
    highest = seconds[["lost", "retried"]].max(axis=None)
    below.set(ylabel="requests / s", ylim=(0, max(2, 1.2 * highest)))
    below.legend(loc="upper left", ncols=2, fontsize=8)
    _draw_steps(replicas, seconds["replicas"].dropna(), GREEN)
    replicas.set(ylabel="replicas", yticks=[0, 2, 4], xlabel="time (s)")
    for axes in (above, below, replicas):
        axes.set_ylim(bottom=0)
        for when, text in report.events:
            kill = "killed" in text or "silent" in text
            axes.axvline(when, color=ORANGE if kill else GREY, ls="-" if kill else ":", zorder=0)
    top = above.get_xaxis_transform()
    for number, (when, _) in enumerate(report.events, start=1):
        above.text(when, 1.0, str(number), transform=top, ha="center", va="bottom", fontsize=8)
    names = {"title": _name_events(report), "title_fontsize": 8, "alignment": "left"}
    figure.legend(handles=[], loc="outside right upper", **names)
    return figure


def _draw_steps(axes: Axes, values: pd.Series, color: str) -> None:
    """Draw numbers by their second, with a gap where more than two seconds are missing."""
    at = values.index
    values = values.reindex(at.union(at[:-1][np.diff(at) > 3] + 1))
    axes.step(values.index, values, where="post", color=color)


def _name_events(report: FaultReport) -> str:
    """Number the events, under the kind of client that asked."""
    lines, client = [], ""
    pairs = zip(report.events, report.phases, strict=True)
    for number, ((_, text), phase) in enumerate(pairs, start=1):
        if phase.client != client:
            client = phase.client
            lines.append(f"clients {client}")
        lines.append(f"  {number}  {text}")
    return "\n".join(lines)
