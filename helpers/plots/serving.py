"""The figures about answers over HTTP."""

from __future__ import annotations

from typing import TYPE_CHECKING

from matplotlib.figure import Figure

from helpers.costs.statistics import Summary
from helpers.plots.style import BLUE, GREEN, GREY, HATCHES, ORANGE, PALETTE, new_figure, styled

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from helpers.serving import FaultReport, RequestReport


def plot_request_latency(report: RequestReport, in_process: Summary) -> Figure:
    """Draw the median time of an answer: without a server, and over HTTP by number of clients.

    A line goes on to the 90th percentile, where there are enough calls for one.

    Args:
        report: of `measure_requests`.
        in_process: of calls of the same model in this process.
    """
    bars: dict[str, Summary] = {"in this process": in_process}
    for result in report.results:
        clients = "1 client" if result.clients == 1 else f"{result.clients} clients"
        bars[f"over HTTP, {clients}"] = result
    with styled():
        figure = new_figure(7.0, 0.9 + 0.5 * len(bars))
        axes = figure.subplots()
        longest = max(each.p90_us or each.p50_us for each in bars.values()) / 1e3
        for index, (name, each) in enumerate(bars.items()):
            median, tail = each.p50_us / 1e3, (each.p90_us or each.p50_us) / 1e3
            axes.barh(name, median, height=0.6, color=PALETTE[index % len(PALETTE)],
                      hatch=HATCHES[index % len(HATCHES)], edgecolor="white")  # fmt: skip
            axes.plot([median, tail], [name, name], color=GREY, marker="|", markersize=9)
            axes.text(tail + 0.02 * longest, index, f"{median:.2g} ms", va="center")
        axes.invert_yaxis()
        axes.set_xlim(0, 1.18 * longest)
        axes.set_xlabel("time of an answer (ms): bar to the median, line to the 90th percentile")
        return figure


def plot_request_scaling(report: RequestReport) -> Figure:
    """Draw what more clients at a time bring, answers a second, and what each of them waits.

    Args:
        report: of `measure_requests` with several numbers of clients.
    """
    clients = [result.clients for result in report.results]
    together = [each.requests_per_s for each in report.results]
    waits = [each.p50_us / 1e3 for each in report.results]
    panels = {
        "answers / s, all clients": (together, BLUE, "o"),
        "median wait of a client (ms)": (waits, ORANGE, "s"),
    }
    with styled():
        figure = new_figure(7.5, 2.8)
        for axes, (label, (values, color, marker)) in zip(
            figure.subplots(1, 2), panels.items(), strict=True
        ):
            axes.plot(clients, values, color=color, marker=marker)
            axes.set_xscale("log", base=2)
            axes.set_xticks(clients, [str(number) for number in clients])
            axes.set_ylim(0, 1.1 * max(values))
            axes.set_xlabel("clients at a time")
            axes.set_title(label)
        return figure


def plot_faults(report: FaultReport) -> Figure:
    """Draw a run of ``make scale``: answers a second, below them what failed, and the replicas.

    Events are numbered lines; their names stand beside the figure. Kills are drawn solid. The
    lines have gaps where no client asked.
    """
    with styled():
        figure = new_figure(10.0, 4.6)
        above, below, replicas = figure.subplots(3, 1, sharex=True, height_ratios=[3, 1.4, 1])
        _draw_steps(above, report, "answered", BLUE)
        above.set_ylabel("answers / s")
        _draw_failures(below, report)
        _draw_steps(replicas, report, "replicas", GREEN)
        replicas.set_ylabel("replicas")
        replicas.set_yticks([0, 2, 4])
        replicas.set_xlabel("time (s)")
        for axes in (above, below, replicas):
            axes.set_ylim(bottom=0)
            for when, text in report.events:
                kill = "killed" in text or "silent" in text
                axes.axvline(when, color=ORANGE if kill else GREY, linestyle="-" if kill else ":",
                             zorder=0)  # fmt: skip
        for number, (when, _) in enumerate(report.events, start=1):
            above.annotate(str(number), (when, 1.0), xycoords=("data", "axes fraction"),
                           ha="center", va="bottom", fontsize=8)  # fmt: skip
        figure.legend(handles=[], title=_name_events(report), loc="outside right upper",
                      alignment="left", title_fontsize=8)  # fmt: skip
        return figure


def _draw_steps(axes: Axes, report: FaultReport, name: str, color: str) -> None:
    """Draw a number of each second, with a gap where seconds are missing."""
    at: list[float] = []
    values: list[float] = []
    for second in report.seconds:
        value = getattr(second, name)
        if at and second.at_s > at[-1] + 3:
            at.append(at[-1] + 1)
            values.append(float("nan"))
        if value is not None:
            at.append(second.at_s)
            values.append(value)
    axes.step(at, values, where="post", color=color)


def _draw_failures(axes: Axes, report: FaultReport) -> None:
    """Draw the lost and the retried requests of each second, each with its own marker."""
    for name, color, marker in [("lost", ORANGE, "X"), ("retried", GREY, "o")]:
        found = [(each.at_s, getattr(each, name)) for each in report.seconds if getattr(each, name)]
        axes.plot([at for at, _ in found], [count for _, count in found], marker, color=color,
                  label=name, markersize=6)  # fmt: skip
    highest = max((max(each.lost, each.retried) for each in report.seconds), default=0)
    axes.set_ylim(0, max(2, 1.2 * highest))
    axes.set_ylabel("requests / s")
    axes.legend(loc="upper left", ncols=2, fontsize=8)


def _name_events(report: FaultReport) -> str:
    """Number the events, under the kind of client that asked."""
    lines, client = [], ""
    for number, ((_, text), phase) in enumerate(
        zip(report.events, report.phases, strict=True), start=1
    ):
        if phase.client != client:
            client = phase.client
            lines.append(f"clients {client}")
        lines.append(f"  {number}  {text}")
    return "\n".join(lines)
