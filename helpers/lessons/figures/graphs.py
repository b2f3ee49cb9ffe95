"""Drawings of computation graphs, whatever format they come from.

A graph is a list of `GraphNode`; `draw_graph` knows nothing else. `graph_nodes_of_function` makes
such a list from a TensorFlow function, `graph_nodes_of_onnx` from an ONNX file. Another format
needs only a function like these.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from helpers.lessons.figures.layered import HALF_BOX, Point, place_graph
from helpers.plots.style import BLUE, GREY, new_figure, styled

if TYPE_CHECKING:
    import onnx
    import tensorflow as tf

LAYER_INCHES = 0.62
"""From one layer of boxes to the next."""

OPERATOR_FONT = {"fontsize": 10, "fontweight": "bold"}
DETAIL_FONT = {"fontsize": 8}
ARROW = {"arrowstyle": "-|>", "color": GREY, "linewidth": 1.3, "shrinkA": 0, "shrinkB": 0}


@dataclass(frozen=True)
class GraphNode:
    """One box of the drawing.

    Attributes:
        name: unique in the graph; the `inputs` of other nodes refer to it. It is not drawn.
        operator: what the node computes, such as ``Conv2D``: the first line in the box.
        inputs: names of the nodes whose results it takes. Leave weights and constants out, and
            tell them in `detail`.
        detail: a second, smaller line, such as the shape of the weights. May be empty.
        has_weights: draws the box in colour.
    """

    name: str
    operator: str
    inputs: tuple[str, ...] = ()
    detail: str = ""
    has_weights: bool = False


def draw_graph(nodes: Sequence[GraphNode], rows: int = 7) -> Figure:
    """Draw a graph from top to bottom: a box for each node, an arrow for each result handed on.

    A box stands one layer below the last of its inputs. After `rows` layers the drawing goes on at
    the top of the next column, as text in a newspaper does.

    Args:
        nodes: in any order. A result that a node takes twice is drawn once.
        rows: layers in one column, at least 1. Choose it so that branches stay in one column.

    Raises:
        ValueError: no nodes, a name twice, an input that is no node, or `rows` below 1.
        graphlib.CycleError: a node needs its own result.
    """
    _check(nodes, rows)
    layout = place_graph({node.name: tuple(dict.fromkeys(node.inputs)) for node in nodes}, rows)
    with styled():
        lane_inches = max(1.1, _text_inches(nodes) + 0.25) + 0.3
        figure = new_figure(lane_inches * layout.width, LAYER_INCHES * (layout.height + 0.2))
        axes = figure.subplots()
        axes.set(xlim=(0, layout.width), ylim=(layout.height - 0.4, -0.6))
        axes.set_axis_off()
        for node in nodes:
            _draw_box(axes, node, layout.centres[node.name], 1 - 0.3 / lane_inches)
        for points in layout.arrows:
            axes.plot(*zip(*points[:-1], strict=True), color=GREY, linewidth=1.3)
            axes.annotate("", points[-1], points[-2], arrowprops=ARROW)
        return figure


def _check(nodes: Sequence[GraphNode], rows: int) -> None:
    if not nodes:
        raise ValueError("nodes: there is nothing to draw. Give at least one GraphNode.")
    if rows < 1:
        raise ValueError(f"rows: expected at least 1, got {rows}")
    counts = Counter(node.name for node in nodes)
    if twice := sorted(name for name, count in counts.items() if count > 1):
        raise ValueError(f"nodes: the names must be unique, but these come twice: {twice}")
    if missing := sorted({source for node in nodes for source in node.inputs} - set(counts)):
        raise ValueError(f"nodes: the inputs {missing} are no nodes. Add them, or leave them out.")


def _text_inches(nodes: Sequence[GraphNode]) -> float:
    """Return the width of the widest line of text, as it will be drawn."""
    ruler = new_figure()
    texts = [ruler.text(0, 0, node.operator, OPERATOR_FONT) for node in nodes]
    texts += [ruler.text(0, 0, node.detail, DETAIL_FONT) for node in nodes]
    return max(text.get_window_extent().width for text in texts) / ruler.dpi


def _draw_box(axes: Axes, node: GraphNode, centre: Point, width: float) -> None:
    x, y = centre
    edge = {"edgecolor": BLUE if node.has_weights else GREY, "linewidth": 1.5}
    face = (edge["edgecolor"], 0.12)
    axes.barh(y, width, height=2 * HALF_BOX, left=x - width / 2, facecolor=face, **edge)
    shift = 0.14 if node.detail else 0.0
    axes.text(x, y - shift, node.operator, OPERATOR_FONT, ha="center", va="center")
    axes.text(x, y + 0.16, node.detail, DETAIL_FONT, ha="center", va="center")


def plot_graph(function: tf.types.experimental.ConcreteFunction, rows: int = 7) -> Figure:
    """Draw the operators of a TensorFlow graph; see `graph_nodes_of_function` and `draw_graph`."""
    return draw_graph(graph_nodes_of_function(function), rows)


def graph_nodes_of_function(function: tf.types.experimental.ConcreteFunction) -> list[GraphNode]:
    """List what a traced function computes from its inputs, as its GraphDef says it.

    Nodes that depend on no input (constants, and what is read from variables) become the `detail`
    of the node that takes them: the shape of the weights. ``Identity`` and ``NoOp`` hand on what
    they get, so they are left out, except for the result.

    Args:
        function: from ``tf.function(...).get_concrete_function(...)``. The call of another function
            inside it is one box.
    """
    definition = function.graph.as_graph_def(add_shapes=True)
    given = {tensor.op.name for tensor in function.inputs if tensor.dtype.name != "resource"}
    results = {tensor.op.name for tensor in function.outputs}
    drawn: list[GraphNode] = []
    carriers: dict[str, str] = {}  # name -> the drawn node whose result it hands on
    weights: dict[str, list[str]] = {}  # name of a node that is not drawn -> shapes of its weights
    for node in definition.node:  # in an order in which it can be computed
        sources = [source.split(":")[0] for source in node.input if not source.startswith("^")]
        inputs = tuple(carriers[source] for source in sources if source in carriers)
        shapes = [shape for source in sources for shape in weights.get(source, [])]
        if node.name not in given and not inputs:
            weights[node.name] = [_shape_of(node)] if node.op == "ReadVariableOp" else shapes
            continue
        if node.op == "Identity" and node.name not in given | results:
            carriers[node.name] = inputs[0]
            continue
        detail, has_weights = f"weights {', '.join(shapes)}" if shapes else "", bool(shapes)
        if node.name in given | results:
            role = "input" if node.name in given else "result"
            detail, has_weights = f"{role} {_shape_of(node)}", False
        drawn.append(GraphNode(node.name, node.op, inputs, detail, has_weights))
        carriers[node.name] = node.name
    return drawn


def _shape_of(node: Any) -> str:
    """Write the shape of a node's first result, with a question mark for an open size."""
    shapes = node.attr["_output_shapes"].list.shape
    if not shapes or shapes[0].unknown_rank:
        return "?"
    return _times("?" if dim.size < 0 else dim.size for dim in shapes[0].dim) or "scalar"


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
    given = [each for each in graph.input if each.name not in constants]
    nodes = [GraphNode(each.name, "input", (), _described(each)) for each in given]
    producers = {node.name: node.name for node in nodes}  # name of a result -> its node
    for node in graph.node:
        name = f"{node.op_type} of {node.output[0]}"
        taken = [constants[source] for source in node.input if source in constants]
        words = [_in_words(array, node.op_type) for array in taken]
        words += [f"axes {_spaced(each.ints)}" for each in node.attribute if each.name == "perm"]
        inputs = tuple(producers[source] for source in node.input if source in producers)
        has_weights = any(array.dtype.kind == "f" for array in taken)
        nodes.append(GraphNode(name, node.op_type, inputs, ", ".join(words), has_weights))
        producers |= dict.fromkeys(node.output, name)
    for each in graph.output:
        source = (producers[each.name],) if each.name in producers else ()
        nodes.append(GraphNode(f"output {each.name}", "output", source, _described(each)))
    return nodes


def _described(value: onnx.ValueInfoProto) -> str:
    """Write the name and the shape of an input or output of an ONNX file."""
    axes = value.type.tensor_type.shape.dim
    return f"{value.name}: {_times(axis.dim_param or axis.dim_value for axis in axes)}"


def _in_words(array: np.ndarray, operator: str) -> str:
    """Write the values of a short integer constant, else the shape."""
    if array.dtype.kind in "iu" and array.size <= 8:
        return f"{'to ' if operator == 'Reshape' else ''}[{_spaced(array.ravel())}]"
    return _times(array.shape) or str(array)


def _times(sizes: Iterable[object]) -> str:
    return " x ".join(map(str, sizes))


def _spaced(numbers: Iterable[int]) -> str:
    return " ".join(map(str, numbers))
