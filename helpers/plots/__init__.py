"""Every figure of the series, in one style."""

from helpers.plots.comparison import (
    plot_cold_start,
    plot_latency,
    plot_parity,
    plot_scorecard,
    plot_size,
)
from helpers.plots.lessons import (
    plot_digits,
    plot_insides,
    plot_predictions,
    plot_resumed_training,
)
from helpers.plots.style import save, show

__all__ = [
    "plot_cold_start",
    "plot_digits",
    "plot_insides",
    "plot_latency",
    "plot_parity",
    "plot_predictions",
    "plot_resumed_training",
    "plot_scorecard",
    "plot_size",
    "save",
    "show",
]
