"""The scorecard as a figure."""

from __future__ import annotations

from matplotlib.figure import Figure

from helpers.plots.comparison import bars_with_numbers
from helpers.plots.style import GREEN, PALETTE, new_figure, styled
from helpers.scorecard.card import Scorecard


def plot_scorecard(card: Scorecard) -> Figure:
    """Draw the costs in the scorecard side by side: shorter is better, except for rows/s."""
    panels = {
        "size_kib": "size (KiB)",
        "cold_start_ms": "cold start (ms)",
        "peak_rss_mib": "peak memory (MiB)",
        "p50_us_1": "one row (µs, median)",
        "rows_per_s": "rows/s (more is better)",
    }
    panels = {column: title for column, title in panels.items() if column in card.table}
    with styled():
        figure = new_figure(9.0, 1.0 + 0.42 * len(card.table))
        grid = figure.subplots(1, len(panels), sharey=True, squeeze=False)[0]
        labels = [
            f"{name} ({row.parity})" if row.parity != "passed" else str(name)
            for name, row in card.table.iterrows()
        ]
        for axes, (column, title) in zip(grid, panels.items(), strict=True):
            values = card.table[column].astype(float)
            color = GREEN if column == "rows_per_s" else PALETTE[0]
            bars_with_numbers(axes, labels, values.to_numpy(), color)
            axes.set_title(title.replace(" (", "\n("), fontsize=9, loc="left")  # two short lines
        grid[0].invert_yaxis()
        return figure
