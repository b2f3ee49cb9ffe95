"""The figures that only a lesson draws."""

from helpers.lessons.figures.course import (
    plot_digits,
    plot_insides,
    plot_predictions,
    plot_resumed_training,
)
from helpers.lessons.figures.graphs import draw_graph, graph_nodes_of_onnx, plot_graph
from helpers.plots.style import show

__all__ = [
    "draw_graph",
    "graph_nodes_of_onnx",
    "plot_digits",
    "plot_graph",
    "plot_insides",
    "plot_predictions",
    "plot_resumed_training",
    "show",
]
