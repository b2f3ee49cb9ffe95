"""A graph is drawn as it is: every node once, every edge, from top to bottom."""

from __future__ import annotations

from graphlib import CycleError
from itertools import pairwise

import numpy as np
import pytest
from matplotlib.figure import Figure

from helpers.lessons.figures.graphs import (
    GraphNode,
    draw_graph,
    graph_nodes_of_function,
    plot_graph,
)
from helpers.lessons.figures.layered import HALF_BOX, Point, place_graph
from helpers.plots.style import to_png

CHAIN = {"a": (), "b": ("a",), "c": ("b",), "d": ("c",)}
DIAMOND = {"top": (), "left": ("top",), "right": ("top",), "bottom": ("left", "right")}
SKIP = {"a": (), "b": ("a",), "c": ("b",), "sum": ("c", "a")}


def inside(point: Point, centre: Point) -> bool:
    """Say whether a point lies in the box around `centre`, its border left out."""
    return abs(point[0] - centre[0]) < 0.4 and abs(point[1] - centre[1]) < HALF_BOX - 0.01


def texts(figure: Figure) -> list[str]:
    return [text.get_text() for text in figure.axes[0].texts if text.get_text()]


@pytest.mark.parametrize("graph", [CHAIN, DIAMOND, SKIP])
def test_a_box_stands_below_its_inputs(graph: dict[str, tuple[str, ...]]) -> None:
    centres = place_graph(graph, rows=10).centres
    assert set(centres) == set(graph)
    assert len(set(centres.values())) == len(graph)
    for name, sources in graph.items():
        assert all(centres[source][1] < centres[name][1] for source in sources)


@pytest.mark.parametrize("rows", [1, 2, 3, 10])
@pytest.mark.parametrize("graph", [CHAIN, DIAMOND, SKIP])
def test_an_arrow_leads_from_box_to_box_and_through_no_other(
    graph: dict[str, tuple[str, ...]], rows: int
) -> None:
    layout = place_graph(graph, rows)
    edges = [(source, name) for name, sources in graph.items() for source in sources]
    for (source, target), points in zip(edges, layout.arrows, strict=True):
        (start_x, start_y), (end_x, end_y) = layout.centres[source], layout.centres[target]
        assert points[0] == pytest.approx((start_x, start_y + HALF_BOX))
        assert points[-1] == pytest.approx((end_x, end_y - HALF_BOX))
        for before, after in pairwise(points):
            steps = [tuple(row) for row in np.linspace(before, after, 50)]
            hit = {
                name
                for name, centre in layout.centres.items()
                if any(inside(step, centre) for step in steps)
            }
            assert not hit


def test_the_drawing_goes_on_in_the_next_column() -> None:
    layout = place_graph(CHAIN, rows=2)
    assert [layout.centres[name][1] for name in CHAIN] == [0, 1, 0, 1]
    assert layout.centres["c"][0] > layout.centres["b"][0] + 1
    assert layout.height == 2


def test_a_node_without_inputs_stands_next_to_its_consumer() -> None:
    layout = place_graph({**CHAIN, "constant": (), "d": ("c", "constant")}, rows=10)
    assert layout.centres["constant"][1] == layout.centres["c"][1]


def test_the_order_of_the_nodes_does_not_matter() -> None:
    backwards = dict(reversed(SKIP.items()))
    assert place_graph(backwards, 10).centres == place_graph(SKIP, 10).centres


def test_every_node_is_written_and_every_edge_is_an_arrow() -> None:
    nodes = [
        GraphNode("x", "Input", detail="2 x 2"),
        GraphNode("y", "Square", ("x", "x")),
        GraphNode("z", "Add", ("x", "y")),
    ]
    figure = draw_graph(nodes)
    assert sorted(texts(figure)) == ["2 x 2", "Add", "Input", "Square"]
    assert len(figure.axes[0].patches) == 3
    arrows = [text for text in figure.axes[0].texts if getattr(text, "arrow_patch", None)]
    assert len(arrows) == 3


@pytest.mark.parametrize(
    ("nodes", "rows", "message"),
    [
        ([], 7, "nothing to draw"),
        ([GraphNode("x", "Input")], 0, "at least 1, got 0"),
        ([GraphNode("x", "Input"), GraphNode("x", "Add")], 7, r"twice: \['x'\]"),
        ([GraphNode("x", "Input"), GraphNode("y", "Add", ("z",))], 7, r"\['z'\] are no nodes"),
    ],
)
def test_what_is_no_graph_is_refused(nodes: list[GraphNode], rows: int, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        draw_graph(nodes, rows)


def test_a_cycle_is_refused() -> None:
    with pytest.raises(CycleError):
        draw_graph([GraphNode("x", "Add", ("y",)), GraphNode("y", "Add", ("x",))])


def test_long_words_get_wider_boxes() -> None:
    short, long = (draw_graph([GraphNode("x", "A" * size)]) for size in (3, 30))
    for figure in (short, long):
        to_png(figure)  # lays it out
        text, box = figure.axes[0].texts[0], figure.axes[0].patches[0]
        assert text.get_window_extent().width < box.get_window_extent().width
    assert long.get_figwidth() > short.get_figwidth()


def test_a_function_is_told_by_its_operators() -> None:
    import tensorflow as tf

    weights = tf.Variable(np.ones((3, 2), np.float32))

    @tf.function(input_signature=[tf.TensorSpec((None, 3), tf.float32)])
    def layer(rows: tf.Tensor) -> tf.Tensor:
        return tf.nn.relu(tf.identity(tf.matmul(rows, weights)) + tf.constant(1.0))

    concrete = layer.get_concrete_function()
    nodes = graph_nodes_of_function(concrete)
    assert [(node.operator, node.detail) for node in nodes] == [
        ("Placeholder", "input ? x 3"),
        ("MatMul", "weights 3 x 2"),
        ("AddV2", ""),
        ("Relu", ""),
        ("Identity", "result ? x 2"),
    ]
    assert [node.inputs for node in nodes] == [(), *((node.name,) for node in nodes[:-1])]
    assert [node.has_weights for node in nodes] == [False, True, False, False, False]
    assert "MatMul" in texts(plot_graph(concrete))


def test_all_inputs_and_all_results_are_drawn() -> None:
    import tensorflow as tf

    @tf.function
    def two(a: tf.Tensor, b: tf.Tensor) -> dict[str, tf.Tensor]:
        return {"sum": a + b, "same": a}

    spec = tf.TensorSpec((2,), tf.float32)
    nodes = graph_nodes_of_function(two.get_concrete_function(spec, spec))
    assert sorted(node.detail for node in nodes) == [
        "", "input 2", "input 2", "result 2", "result 2",
    ]  # fmt: skip
