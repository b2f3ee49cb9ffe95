"""What an ONNX file computes, as nodes of a graph to draw."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from helpers.lessons.figures.graphs import GraphNode

if TYPE_CHECKING:
    import onnx


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
