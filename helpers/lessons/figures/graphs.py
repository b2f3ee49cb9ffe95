"""Drawings of computation graphs, whatever format they come from.

A graph is a list of `GraphNode`; `draw_graph` knows nothing else. `graph_nodes_of_function` makes
such a list from a TensorFlow function. Another format needs only a function like that one.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from helpers.lessons.figures.layered import HALF_BOX, place_graph
from helpers.plots.style import BLUE, GREY, new_figure, styled

if TYPE_CHECKING:
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


def _draw_box(axes: Axes, node: GraphNode, centre: tuple[float, float], width: float) -> None:
    x, y = centre
    colour = BLUE if node.has_weights else GREY
    axes.barh(y, width, height=2 * HALF_BOX, left=x - width / 2, facecolor=(colour, 0.12),
              edgecolor=colour, linewidth=1.5)  # fmt: skip
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
        if node.op == "ReadVariableOp":
            shapes = [_shape_of(node)]
        if node.name in given:
            drawn.append(GraphNode(node.name, node.op, (), f"input {_shape_of(node)}"))
        elif not inputs:
            weights[node.name] = shapes
            continue
        elif node.op == "Identity" and node.name not in results:
            carriers[node.name] = inputs[0]
            continue
        elif node.name in results:
            drawn.append(GraphNode(node.name, node.op, inputs, f"result {_shape_of(node)}"))
        else:
            detail = "weights " + ", ".join(shapes) if shapes else ""
            drawn.append(GraphNode(node.name, node.op, inputs, detail, bool(shapes)))
        carriers[node.name] = node.name
    return drawn


def _shape_of(node: Any) -> str:
    """Write the shape of a node's first result, with a question mark for an open size."""
    shapes = node.attr["_output_shapes"].list.shape
    if not shapes or shapes[0].unknown_rank:
        return "?"
    sizes = ["?" if dim.size < 0 else str(dim.size) for dim in shapes[0].dim]
    return " x ".join(sizes) or "scalar"
