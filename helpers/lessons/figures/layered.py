"""Where the boxes and arrows of a graph go: layers from top to bottom, in columns.

The method is Sugiyama's, cut down to small graphs: give each node a layer, lead long arrows
through points in the layers between, and put each node near the middle of its parents.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from graphlib import TopologicalSorter
from itertools import pairwise
from statistics import mean

Point = tuple[float, float]

HALF_BOX = 0.33
"""Half the height of a box, where the distance of two layers is 1."""

GAP = 0.35
"""Room between two columns for the arrows that go on there; a lane is 1."""


@dataclass(frozen=True)
class Layout:
    """Points are (lane, layer): to the right, and down from the top of the column.

    Attributes:
        centres: of the boxes, by the name of the node.
        arrows: one polyline for each edge, from the bottom of a box to the top of another.
        width: of the drawing, in lanes.
        height: of the drawing, in layers.
    """

    centres: dict[str, Point]
    arrows: list[list[Point]]
    width: float
    height: float


def place_graph(inputs: Mapping[str, Sequence[str]], rows: int) -> Layout:
    """Give every node and edge its place.

    Args:
        inputs: name of a node -> names of the nodes that it takes results from.
        rows: layers in one column.

    Raises:
        graphlib.CycleError: a node needs its own result.
    """
    levels = _levels(inputs)
    chains = [
        [source, *_points_between(source, target, levels), target]
        for target, sources in inputs.items()
        for source in sources
    ]
    layers = _order(levels, chains)
    columns = [layers[start : start + rows] for start in range(0, len(layers), rows)]
    centres: dict[str, Point] = {}
    gaps: dict[str, float] = {}
    left = 0.0
    for column in columns:
        lanes = max(map(len, column))
        for row, layer in enumerate(column):
            margin = (lanes - len(layer)) / 2
            centres |= {name: (left + margin + i + 0.5, row) for i, name in enumerate(layer)}
            gaps |= dict.fromkeys(layer, left + lanes + GAP / 2)
        left += lanes + GAP
    arrows = [_polyline(chain, centres, gaps) for chain in chains]
    boxes = {name: centres[name] for name in inputs}
    return Layout(boxes, arrows, left - GAP, max(map(len, columns)))


def _levels(inputs: Mapping[str, Sequence[str]]) -> dict[str, int]:
    """Put each node one level below its inputs, and a node without inputs above its consumer."""
    levels: dict[str, int] = {}
    consumers = defaultdict(list)
    for name in TopologicalSorter(inputs).static_order():
        levels[name] = 1 + max((levels[source] for source in inputs[name]), default=-1)
        for source in inputs[name]:
            consumers[source].append(levels[name])
    for name, sources in inputs.items():
        if not sources and consumers[name]:
            levels[name] = min(consumers[name]) - 1
    return levels


def _points_between(source: str, target: str, levels: Mapping[str, int]) -> list[str]:
    return [
        f"{source} -> {target} at {level}" for level in range(levels[source] + 1, levels[target])
    ]


def _order(levels: Mapping[str, int], chains: Sequence[Sequence[str]]) -> list[list[str]]:
    """List the names of each level from left to right: nodes, and points of long edges."""
    layers: list[list[str]] = [[] for _ in range(1 + max(levels.values()))]
    parents = defaultdict(list)
    for name, level in levels.items():
        layers[level].append(name)
    for chain in chains:
        for step, name in enumerate(chain[1:-1], start=1):
            layers[levels[chain[0]] + step].append(name)
        for before, after in pairwise(chain):
            parents[after].append(before)
    places: dict[str, float] = {}
    for layer in layers:
        end = float(len(layer))
        layer.sort(key=lambda name: mean([places[each] for each in parents[name]] or [end]))
        places |= {name: index - (len(layer) - 1) / 2 for index, name in enumerate(layer)}
    return layers


def _polyline(
    chain: Sequence[str], centres: Mapping[str, Point], gaps: Mapping[str, float]
) -> list[Point]:
    """Lead an arrow through its points, and through the gap to the top of the next column."""
    x, row = centres[chain[0]]
    points = [(x, row + HALF_BOX)]
    for before, name in pairwise(chain):
        x, row = centres[before]
        next_x, next_row = centres[name]
        if next_row <= row:  # it stands in the next column
            gap, below, above = gaps[before], row + 0.5, next_row - 0.5
            points += [(x, below), (gap, below), (gap, above), (next_x, above)]
        points += [(next_x, next_row - HALF_BOX), (next_x, next_row + HALF_BOX)]
    return points[:-1]
