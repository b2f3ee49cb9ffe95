"""The figures that compare artifacts: is it right, and what does it cost?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import cycle

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator

from helpers.costs.cold_start_results import ColdStartReport
from helpers.costs.install import InstallFootprint
from helpers.costs.latency_results import LatencyReport
from helpers.formats import ArtifactSize
from helpers.parity import LayerReport, ParityReport
from helpers.plots import style
from helpers.plots.style import GREY, HATCHES, MARKERS, ORANGE, PALETTE, new_figure, styled

LARGEST_SHOWN = 1e9
"""Where an error that is no finite number is drawn: a logarithmic axis has no end."""

SMALLEST_SHOWN = 1e-9
"""Where a difference of exactly zero is drawn: a logarithmic axis has no zero."""


@styled()
def plot_latency(report: LatencyReport) -> Figure:
    """Draw the median time of a call by batch size, with half the distance of the quartiles."""
    figure = new_figure(7.0, 3.6)
    axes = figure.subplots()
    ends: dict[str, tuple[float, str]] = {}
    names = dict.fromkeys(each.candidate for each in report.results)
    for name, marker, color in zip(names, cycle(MARKERS), cycle(PALETTE), strict=False):
        results = [each for each in report.results if each.candidate == name]
        rows, medians = [each.batch_size for each in results], [each.p50_us for each in results]
        spread = [each.iqr_us / 2 for each in results]
        axes.errorbar(rows, medians, yerr=spread, marker=marker, color=color, capsize=3)
        ends[name] = (medians[-1], color)
    axes.set(xscale="log", xlabel="batch size (rows in one call)")
    axes.set(yscale="log", ylabel="time of a call (µs, median)")
    sizes = sorted({each.batch_size for each in report.results})
    axes.set_xticks(sizes, map(str, sizes))
    axes.minorticks_off()
    low, high = axes.get_ylim()
    if high < 100 * low:  # powers of ten alone would leave one or two marks
        axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axes.yaxis.set_major_formatter("{x:,g}")
    axes.set_xlim(sizes[0] / 1.3, sizes[-1] * 6)  # room for the names
    axes.grid(axis="y")
    _name_the_lines(axes, sizes[-1] * 1.25, ends)
    return figure


def _name_the_lines(axes: Axes, x: float, ends: Mapping[str, tuple[float, str]]) -> None:
    """Write each name at the end of its line, moved up where it would cover another one."""
    low, high = np.log10(axes.get_ylim())
    previous = -np.inf
    for name, (value, color) in sorted(ends.items(), key=lambda item: item[1][0]):
        position = max(np.log10(value), previous + 0.07 * (high - low))
        axes.text(x, 10**position, name, color=color, va="center")
        previous = position


def plot_cold_start(report: ColdStartReport) -> Figure:
    """Draw, for each artifact, what the time from a fresh process to the first answer goes to."""
    phases = {
        "import": [each.import_ms for each in report.results],
        "load": [each.load_ms for each in report.results],
        "first inference": [each.first_inference_ms for each in report.results],
    }
    names = [each.candidate for each in report.results]
    return _plot_parts(names, phases, "time in a fresh process (ms, median)")


def plot_size(sizes: Mapping[str, ArtifactSize]) -> Figure:
    """Draw what takes the space in each artifact: one bar each, one segment for each part."""
    weights = np.array([size.weight_bytes for size in sizes.values()])
    optimizer = np.array([size.optimizer_bytes for size in sizes.values()])
    total = np.array([size.total_bytes for size in sizes.values()])
    parts = {
        "weights": weights / 1024,
        "optimizer state": optimizer / 1024,
        "everything else": (total - weights - optimizer) / 1024,
    }
    return _plot_parts(list(sizes), parts, "size on disk (KiB)")


@styled()
def plot_install_footprint(footprints: Mapping[str, InstallFootprint]) -> Figure:
    """Draw what each runtime needs on disk: its largest package, and everything else."""
    largest = np.array([each.distributions[0].size_mib for each in footprints.values()])
    totals = np.array([each.total_mib for each in footprints.values()])
    parts = {"the largest package": largest, "everything that it requires": totals - largest}
    figure = _plot_parts(list(footprints), parts, "installed size (MiB)")
    (axes,) = figure.axes
    style.write_behind(axes, totals, [f" {total:,.0f} MiB" for total in totals], room=1.15)
    return figure


@styled()
def _plot_parts(names: Sequence[str], parts: Mapping[str, Sequence[float]], what: str) -> Figure:
    """Draw one bar for each name, with one segment for each part: its values, bar by bar."""
    figure = new_figure(7.0, 0.9 + 0.5 * len(names))
    axes = figure.subplots()
    starts = np.zeros(len(names))
    for (part, values), color, hatch in zip(parts.items(), PALETTE, HATCHES, strict=False):
        look = {"color": color, "hatch": hatch, "edgecolor": "white"}
        style.draw_bars(axes, names, values, left=starts, label=part, **look)
        starts += np.array(values)
    axes.set_xlabel(what)
    figure.legend(loc="outside upper left", ncols=len(parts))
    return figure


@styled()
def plot_parity(reports: Mapping[str, ParityReport], atol: float = 1e-5) -> Figure:
    """Draw the largest difference of each artifact from its source, against the tolerance.

    An exact match is drawn at the left edge; a failed comparison is a cross.
    """
    figure = new_figure(7.0, 0.9 + 0.4 * len(reports))
    axes = figure.subplots()
    for row, report in enumerate(reports.values()):
        difference = report.max_abs if np.isfinite(report.max_abs) else 1.0
        text = "bit for bit the same" if difference == 0 else f"{report.max_abs:.1e}"
        failed = {} if report.passed else {"marker": "X", "color": ORANGE}
        text += "" if report.passed else ", FAILED"
        style.draw_point(axes, max(difference, SMALLEST_SHOWN), row, text, **failed)
    style.frame_points(axes, list(reports), atol, " tolerance")
    axes.set_xlim(SMALLEST_SHOWN / 2, 1e3)
    axes.set_xlabel("largest difference from the source")
    return figure


@styled()
def plot_layers(report: LayerReport, factor: float) -> Figure:
    """Draw the error of each layer as a multiple of the source's own, from input to output.

    Args:
        report: what `compare_layers` found.
        factor: the multiple that it allows, `LAYER_FACTOR` unless it was told otherwise. Layers
            beyond it are crosses where the fault is, and open circles where it is passed on.
    """
    looks = {
        "diverged": {"marker": "X", "color": ORANGE},
        "inherited": {"color": ORANGE, "markerfacecolor": "white"},
    }
    figure = new_figure(7.0, 1.0 + 0.32 * len(report.layers))
    axes = figure.subplots()
    with matplotlib.rc_context({"font.size": 9}):
        for row, layer in enumerate(report.layers):
            if not layer.compared:
                axes.text(1.0, row, "not in the file", color=GREY, va="center")
                continue
            ratio = layer.error_ratio if np.isfinite(layer.error_ratio) else LARGEST_SHOWN
            text = f"{layer.status}, {layer.error_ratio:.3g}"
            style.draw_point(axes, ratio, row, text, **looks.get(layer.status, {}))
    style.frame_points(axes, [each.layer for each in report.layers], factor, "limit")
    low, high = axes.get_xlim()
    axes.set_xlim(min(low, 0.5), high * 30)  # room for the words
    axes.set_xlabel("error against the float64 run, as a multiple of the Keras layer's own")
    return figure
