"""The figures about answers over HTTP."""

from __future__ import annotations

from typing import TYPE_CHECKING

from matplotlib.figure import Figure

from helpers.latency.statistics import Summary
from helpers.plots.style import GREY, HATCHES, PALETTE, new_figure, styled

if TYPE_CHECKING:
    from helpers.serving import RequestReport


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
