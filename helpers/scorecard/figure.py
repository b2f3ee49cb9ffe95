"""The scorecard as a figure."""

from __future__ import annotations

import numpy as np
from matplotlib.figure import Figure

from helpers.plots import style
from helpers.plots.style import BLUE, GREEN, new_figure, styled
from helpers.scorecard.card import Scorecard
from helpers.tables import readable

PANELS = {
    "size_kib": "size\n(KiB)",
    "cold_start_ms": "cold start\n(ms)",
    "peak_rss_mib": "peak memory\n(MiB)",
    "p50_us_1": "one row\n(µs, median)",
    "rows_per_s": "rows/s\n(more is better)",
}
"""Column of the table -> title of its panel, in two short lines."""


@styled()
def plot_scorecard(card: Scorecard) -> Figure:
    """Draw the costs in the scorecard side by side: shorter is better, except for rows/s."""
    columns = [column for column in PANELS if column in card.table]
    labels = [
        str(name) if parity == "passed" else f"{name} ({parity})"
        for name, parity in card.table["parity"].items()
    ]
    figure = new_figure(9.0, 1.0 + 0.42 * len(labels))
    panels = figure.subplots(1, len(columns), sharey=True, squeeze=False)[0]
    for axes, column in zip(panels, columns, strict=True):
        values = card.table[column].astype(float)
        numbers = [" not measured" if np.isnan(each) else f" {readable(each)}" for each in values]
        lengths = values.fillna(0)
        style.draw_bars(axes, labels, lengths, color=GREEN if column == "rows_per_s" else BLUE)
        style.write_behind(axes, lengths, numbers, room=1.6, fontsize=8)
        axes.set_title(PANELS[column], fontsize=9)
        axes.set_xticks([])
        axes.spines["bottom"].set_visible(False)
    return figure
