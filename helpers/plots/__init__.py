"""The figures of comparisons, in one style."""

from helpers.plots.comparison import (
    plot_cold_start,
    plot_install_footprint,
    plot_latency,
    plot_layers,
    plot_parity,
    plot_size,
)
from helpers.plots.serving import plot_faults, plot_request_latency, plot_request_scaling
from helpers.plots.style import save, show

__all__ = [
    "plot_cold_start",
    "plot_faults",
    "plot_install_footprint",
    "plot_latency",
    "plot_layers",
    "plot_parity",
    "plot_request_latency",
    "plot_request_scaling",
    "plot_size",
    "save",
    "show",
]
