"""What the figures of a conversion say: each box, mark and bar stands for something in the file."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from matplotlib.figure import Figure
from onnx import TensorProto, helper, numpy_helper

from helpers.costs.install import DistributionSize, InstallFootprint
from helpers.lessons.figures import draw_graph, graph_nodes_of_onnx
from helpers.lessons.figures.graphs import GraphNode
from helpers.parity import LayerComparison, LayerReport
from helpers.plots import plot_install_footprint, plot_layers
from helpers.plots.style import ORANGE
from tiny_onnx import write_dense

FLOAT = TensorProto.FLOAT


def write_branches(path: Path, weights_as_inputs: bool = False) -> Path:
    """Write y = reshape(transpose(x) + relu(transpose(x)) * scale); the nodes have no names."""
    constants = [
        numpy_helper.from_array(np.array(0.5, np.float32), "scale"),
        numpy_helper.from_array(np.array([-1, 6], np.int64), "target"),
    ]
    inputs = [helper.make_tensor_value_info("x", FLOAT, ["batch", 2, 3])]
    if weights_as_inputs:  # as files of IR version 3 must
        inputs.append(helper.make_tensor_value_info("scale", FLOAT, []))
    graph = helper.make_graph(
        [
            helper.make_node("Transpose", ["x"], ["turned"], perm=[0, 2, 1]),
            helper.make_node("Relu", ["turned"], ["positive"]),
            helper.make_node("Mul", ["positive", "scale"], ["scaled"]),
            helper.make_node("Add", ["turned", "scaled"], ["sum"]),
            helper.make_node("Reshape", ["sum", "target"], ["y"]),
        ],
        "branches",
        inputs,
        [helper.make_tensor_value_info("y", FLOAT, ["batch", 6])],
        constants,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.save(model, path)
    return path


def by_operator(nodes: list[GraphNode]) -> dict[str, GraphNode]:
    return {node.operator: node for node in nodes}


def sources(nodes: list[GraphNode], operator: str) -> list[str]:
    """Name the operators that an operator takes results from."""
    operators = {node.name: node.operator for node in nodes}
    return [operators[name] for name in by_operator(nodes)[operator].inputs]


def test_the_boxes_are_the_operators_between_input_and_output(tmp_path: Path) -> None:
    nodes = graph_nodes_of_onnx(write_dense(tmp_path / "dense.onnx"))
    assert [node.operator for node in nodes] == ["input", "MatMul", "Relu", "output"]
    assert [node.detail for node in nodes] == ["x: n x 4", "4 x 4", "", "y: n x 4"]
    assert [node.has_weights for node in nodes] == [False, True, False, False]


def test_the_arrows_follow_the_branches(tmp_path: Path) -> None:
    nodes = graph_nodes_of_onnx(write_branches(tmp_path / "branches.onnx"))
    assert sources(nodes, "Relu") == ["Transpose"]
    assert sources(nodes, "Add") == ["Transpose", "Mul"]
    assert sources(nodes, "output") == ["Reshape"]


def test_constants_are_told_in_words(tmp_path: Path) -> None:
    nodes = by_operator(graph_nodes_of_onnx(write_branches(tmp_path / "branches.onnx")))
    assert nodes["Transpose"].detail == "axes 0 2 1"
    assert nodes["Reshape"].detail == "to [-1 6]"
    assert not nodes["Reshape"].has_weights
    assert nodes["Mul"].detail == "0.5"


def test_a_weight_that_is_listed_as_input_is_no_input(tmp_path: Path) -> None:
    old = graph_nodes_of_onnx(write_branches(tmp_path / "old.onnx", weights_as_inputs=True))
    assert old == graph_nodes_of_onnx(write_branches(tmp_path / "new.onnx"))


def test_an_onnx_file_is_drawn(tmp_path: Path) -> None:
    figure = draw_graph(graph_nodes_of_onnx(write_branches(tmp_path / "branches.onnx")))
    words = texts(figure)
    assert {"Transpose", "Relu", "Mul", "Add", "Reshape", "axes 0 2 1"} <= set(words)


def test_a_file_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"absent\.onnx"):
        graph_nodes_of_onnx(tmp_path / "absent.onnx")


LAYERS = LayerReport(
    (
        LayerComparison("conv_1", "Conv2D", "a", (1, 8), "same", 1e-7, 1.0),
        LayerComparison("conv_2", "Conv2D", "b", (1, 8), "diverged", 1e-3, 5000.0),
        LayerComparison("dropout", "Dropout", None, (1, 8)),
        LayerComparison("scores", "Dense", "c", (1, 8), "inherited", np.nan, np.nan),
    )
)


def test_the_layer_at_fault_is_a_cross_beyond_the_limit() -> None:
    axes = plot_layers(LAYERS, factor=4.0).axes[0]
    marks = {line.get_ydata()[0]: line for line in axes.get_lines() if line.get_marker() != "None"}
    assert {row: line.get_marker() for row, line in marks.items()} == {0: "o", 1: "X", 3: "o"}
    assert [row for row, line in marks.items() if line.get_color() == ORANGE] == [1, 3]
    assert marks[3].get_markerfacecolor() == "white"
    assert marks[0].get_xdata()[0] < 4.0 < marks[1].get_xdata()[0] < marks[3].get_xdata()[0]
    assert [label.get_text() for label in axes.get_yticklabels()] == [
        layer.layer for layer in LAYERS.layers
    ]


def test_a_layer_that_was_not_compared_says_so() -> None:
    assert "not in the file" in texts(plot_layers(LAYERS, factor=4.0))


def test_the_bars_of_a_footprint_add_up() -> None:
    large = InstallFootprint(
        "large", (DistributionSize("a", "1", 900.0), DistributionSize("b", "1", 300.0))
    )
    small = InstallFootprint("small", (DistributionSize("b", "1", 100.0),))
    figure = plot_install_footprint({"large": large, "small": small})
    parts = figure.axes[0].containers
    ends = [max(part[row].get_x() + part[row].get_width() for part in parts) for row in range(2)]
    assert ends == [1200.0, 100.0]
    assert {" 1,200 MiB", " 100 MiB"} <= set(texts(figure))


def texts(figure: Figure) -> list[str]:
    return [text.get_text() for text in figure.axes[0].texts]
