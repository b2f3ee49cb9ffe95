"""Every figure of the series, in one style."""

from helpers.plots.comparison import (
    plot_cold_start,
    plot_latency,
    plot_parity,
    plot_scorecard,
    plot_size,
)
from helpers.plots.conversion import graph_nodes_of_onnx, plot_install_footprint, plot_layers
from helpers.plots.graphs import GraphNode, draw_graph, graph_nodes_of_function, plot_graph
from helpers.plots.lessons import (
    plot_digits,
    plot_insides,
    plot_predictions,
    plot_resumed_training,
)
from helpers.plots.serving import plot_faults, plot_request_latency, plot_request_scaling
from helpers.plots.style import save, show

__all__ = [
    "GraphNode",
    "draw_graph",
    "graph_nodes_of_function",
    "graph_nodes_of_onnx",
    "plot_cold_start",
    "plot_digits",
    "plot_faults",
    "plot_graph",
    "plot_insides",
    "plot_install_footprint",
    "plot_latency",
    "plot_layers",
    "plot_parity",
    "plot_predictions",
    "plot_request_latency",
    "plot_request_scaling",
    "plot_resumed_training",
    "plot_scorecard",
    "plot_size",
    "save",
    "show",
]
