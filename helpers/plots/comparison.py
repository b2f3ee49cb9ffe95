"""The figures that compare artifacts: is it right, and what does it cost?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator

from helpers.formats import ArtifactSize
from helpers.plots.style import (
    BLUE,
    GREY,
    HATCHES,
    MARKERS,
    ORANGE,
    PALETTE,
    new_figure,
    styled,
)

if TYPE_CHECKING:
    from helpers.costs.cold_start_results import ColdStartReport
    from helpers.costs.install import InstallFootprint
    from helpers.costs.latency_results import LatencyReport
    from helpers.parity import LayerReport, ParityReport

LARGEST_SHOWN = 1e9
"""Where an error that is no finite number is drawn: a logarithmic axis has no end."""

SMALLEST_SHOWN = 1e-9
"""Where a difference of exactly zero is drawn: a logarithmic axis has no zero."""


def plot_latency(report: LatencyReport) -> Figure:
    """Draw the median time of a call by batch size, with half the distance of the quartiles."""
    with styled():
        figure = new_figure(7.0, 3.6)
        axes = figure.subplots()
        ends: dict[str, tuple[float, str]] = {}
        for index, name in enumerate(dict.fromkeys(each.candidate for each in report.results)):
            results = [each for each in report.results if each.candidate == name]
            sizes = [each.batch_size for each in results]
            medians = [each.p50_us for each in results]
            axes.errorbar(
                sizes,
                medians,
                yerr=[each.iqr_us / 2 for each in results],
                marker=MARKERS[index % len(MARKERS)],
                color=PALETTE[index % len(PALETTE)],
                capsize=3,
            )
            ends[name] = (medians[-1], PALETTE[index % len(PALETTE)])
        sizes = sorted({each.batch_size for each in report.results})
        axes.set(xscale="log", yscale="log", xlabel="batch size (rows in one call)")
        axes.set_xticks(sizes, [str(size) for size in sizes], minor=False)
        axes.minorticks_off()
        low, high = axes.get_ylim()
        if high < 100 * low:  # powers of ten alone would leave one or two marks
            axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axes.yaxis.set_major_formatter("{x:,g}")
        axes.set_xlim(sizes[0] / 1.3, sizes[-1] * 6)  # room for the names
        axes.set_ylabel("time of a call (µs, median)")
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
    return plot_stacked_bars(names, phases, "time in a fresh process (ms, median)")


def plot_size(sizes: Mapping[str, ArtifactSize]) -> Figure:
    """Draw what takes the space in each artifact: one bar each, one segment for each part."""
    parts = {
        "weights": [size.weight_bytes / 1024 for size in sizes.values()],
        "optimizer state": [size.optimizer_bytes / 1024 for size in sizes.values()],
        "everything else": [
            (size.total_bytes - size.weight_bytes - size.optimizer_bytes) / 1024
            for size in sizes.values()
        ],
    }
    return plot_stacked_bars(list(sizes), parts, "size on disk (KiB)")


def plot_stacked_bars(
    names: Sequence[str], parts: Mapping[str, Sequence[float]], xlabel: str
) -> Figure:
    """Draw one horizontal bar for each name, with one segment for each part.

    Args:
        names: of the bars, from top to bottom.
        parts: name of the part -> one value for each bar, all in one unit.
        xlabel: what is measured, with the unit.
    """
    with styled():
        figure = new_figure(7.0, 0.9 + 0.5 * len(names))
        axes = figure.subplots()
        starts = np.zeros(len(names))
        for index, (part, values) in enumerate(parts.items()):
            axes.barh(
                names,
                values,
                left=starts,
                height=0.6,
                label=part,
                color=PALETTE[index],
                hatch=HATCHES[index],
                edgecolor="white",
            )
            starts += np.array(values)
        axes.invert_yaxis()
        axes.set_xlabel(xlabel)
        figure.legend(loc="outside upper left", ncols=len(parts))
        return figure


def plot_parity(reports: Mapping[str, ParityReport], atol: float = 1e-5) -> Figure:
    """Draw the largest difference of each artifact from its source, against the tolerance.

    An exact match is drawn at the left edge; a failed comparison is a cross.
    """
    with styled():
        figure = new_figure(7.0, 0.9 + 0.4 * len(reports))
        axes = figure.subplots()
        for name, report in reports.items():
            difference = report.max_abs if np.isfinite(report.max_abs) else 1.0
            color, marker = (PALETTE[0], "o") if report.passed else (ORANGE, "X")
            axes.plot(max(difference, SMALLEST_SHOWN), name, marker, color=color, markersize=9)
            text = "bit for bit the same" if difference == 0 else f"{report.max_abs:.1e}"
            if not report.passed:
                text += ", FAILED"
            axes.annotate(
                text,
                (max(difference, SMALLEST_SHOWN), name),
                xytext=(9, 0),
                textcoords="offset points",
                va="center",
            )
        axes.axvline(atol, color=GREY, linestyle="--", linewidth=1)
        axes.text(atol, 1.0, " tolerance", color=GREY, transform=axes.get_xaxis_transform(),
                  va="bottom", ha="center")  # fmt: skip
        axes.set(xscale="log", xlim=(SMALLEST_SHOWN / 2, 1e3))
        axes.set_ylim(len(reports) - 0.5, -0.5)
        axes.set_xlabel("largest difference from the source")
        return figure


def bars_with_numbers(axes: Axes, labels: Sequence[str], values: np.ndarray, color: str) -> None:
    """Draw one bar for each label, its number behind it; NaN is "not measured"."""
    axes.barh(labels, np.nan_to_num(values), height=0.6, color=color)
    largest = np.nanmax(values) if np.isfinite(values).any() else 1.0
    for position, value in enumerate(values):
        text = f"{value:,.3g}" if value < 1000 else f"{value:,.0f}"
        text = text if np.isfinite(value) else "not measured"
        axes.text(np.nan_to_num(value), position, f" {text}", va="center", fontsize=8)
    axes.set_xlim(0, largest * 1.6)  # room for the numbers
    axes.set_xticks([])
    axes.spines["bottom"].set_visible(False)


def plot_layers(report: LayerReport, factor: float) -> Figure:
    """Draw the error of each layer as a multiple of the source's own, from input to output.

    Args:
        report: what `compare_layers` found.
        factor: the multiple that it allows, `LAYER_FACTOR` unless it was told otherwise. Layers
            beyond it are crosses where the fault is, and open circles where it is passed on.
    """
    marks = {"diverged": ("X", ORANGE, ORANGE), "inherited": ("o", ORANGE, "white")}
    with styled():
        figure = new_figure(7.0, 1.0 + 0.32 * len(report.layers))
        axes = figure.subplots()
        for row, layer in enumerate(report.layers):
            if not layer.compared:
                axes.text(1.0, row, "not in the file", color=GREY, va="center", fontsize=9)
                continue
            ratio = layer.error_ratio if np.isfinite(layer.error_ratio) else LARGEST_SHOWN
            marker, edge, face = marks.get(layer.status, ("o", BLUE, BLUE))
            axes.plot(ratio, row, marker, color=edge, markerfacecolor=face, markersize=9)
            axes.annotate(f"{layer.status}, {layer.error_ratio:.3g}", (ratio, row), (9, 0),
                          textcoords="offset points", va="center", fontsize=9)  # fmt: skip
        axes.axvline(factor, color=GREY, linestyle="--", linewidth=1)
        axes.text(factor, 1.0, "limit", color=GREY, transform=axes.get_xaxis_transform(),
                  va="bottom", ha="center")  # fmt: skip
        axes.set_yticks(range(len(report.layers)), [each.layer for each in report.layers])
        axes.set(xscale="log", ylim=(len(report.layers) - 0.5, -0.5))
        low, high = axes.get_xlim()
        axes.set_xlim(min(low, 0.5), high * 30)  # room for the words
        axes.set_xlabel("error against the float64 run, as a multiple of the Keras layer's own")
        return figure


def plot_install_footprint(footprints: Mapping[str, InstallFootprint]) -> Figure:
    """Draw what each runtime needs on disk: its largest package, and everything else."""
    largest = [each.distributions[0].size_mib for each in footprints.values()]
    totals = [each.total_mib for each in footprints.values()]
    parts = {
        "the largest package": largest,
        "everything that it requires": [
            total - part for total, part in zip(totals, largest, strict=True)
        ],
    }
    figure = plot_stacked_bars(list(footprints), parts, "installed size (MiB)")
    with styled():
        (axes,) = figure.axes
        for row, total in enumerate(totals):
            axes.text(total, row, f" {total:,.0f} MiB", va="center")
        axes.set_xlim(0, max(totals) * 1.15)  # room for the numbers
    return figure
