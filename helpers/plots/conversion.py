"""The figures of a conversion: the graph of an ONNX file, its layers, and what it needs to run."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from matplotlib.figure import Figure

from helpers.plots.comparison import plot_stacked_bars
from helpers.plots.graphs import GraphNode
from helpers.plots.style import BLUE, GREY, ORANGE, new_figure, styled

if TYPE_CHECKING:
    import onnx

    from helpers.parity import LayerReport
    from helpers.size import InstallFootprint

LARGEST_SHOWN = 1e9
"""Where an error that is no finite number is drawn: a logarithmic axis has no end."""


def graph_nodes_of_onnx(path: str | Path) -> list[GraphNode]:
    """List what an ONNX file computes, from its inputs to its outputs, for `draw_graph`.

    The initializers, which are the constants of the file, become the `detail` of the node that
    takes them: the shape of a weight, the values of an integer constant, such as the target of a
    ``Reshape``. A box of a ``Loop`` or ``If`` stands for the graph inside it.

    Raises:
        OSError: there is no such file.
        google.protobuf.message.DecodeError: it is no ONNX file.
    """
    import onnx

    graph = onnx.load(path).graph
    constants = {each.name: onnx.numpy_helper.to_array(each) for each in graph.initializer}
    nodes = [
        GraphNode(each.name, "input", detail=f"{each.name}: {_axes(each)}")
        for each in graph.input
        if each.name not in constants
    ]
    producers = {node.name: node.name for node in nodes}
    for node in graph.node:
        box = f"{node.op_type} of {node.output[0]}"
        nodes.append(_graph_node(box, node, producers, constants))
        producers |= dict.fromkeys(node.output, box)
    for each in graph.output:
        source = (producers[each.name],) if each.name in producers else ()
        nodes.append(
            GraphNode(f"output {each.name}", "output", source, f"{each.name}: {_axes(each)}")
        )
    return nodes


def _graph_node(
    box: str,
    node: onnx.NodeProto,
    producers: Mapping[str, str],
    constants: Mapping[str, np.ndarray],
) -> GraphNode:
    taken = [constants[name] for name in node.input if name in constants]
    words = [_in_words(array, node.op_type) for array in taken]
    words += [f"axes {_joined(each.ints)}" for each in node.attribute if each.name == "perm"]
    inputs = tuple(producers[name] for name in node.input if name in producers)
    has_weights = any(array.dtype.kind == "f" for array in taken)
    return GraphNode(box, node.op_type, inputs, ", ".join(words), has_weights)


def _in_words(array: np.ndarray, operator: str) -> str:
    """Write the values of a short integer constant, else the shape."""
    if array.dtype.kind in "iu" and array.size <= 8:
        return f"{'to ' if operator == 'Reshape' else ''}[{_joined(array.ravel())}]"
    return " x ".join(map(str, array.shape)) or str(array)


def _joined(numbers: Iterable[int]) -> str:
    return " ".join(map(str, numbers))


def _axes(value: onnx.ValueInfoProto) -> str:
    axes = (axis.dim_param or str(axis.dim_value) for axis in value.type.tensor_type.shape.dim)
    return " x ".join(axes)


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
