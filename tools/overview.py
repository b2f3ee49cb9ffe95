"""The picture of the README: one model, three strategies, and where each one runs.

Draw it again after a change here, with ``python tools/overview.py notebooks/overview.png``.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import FancyBboxPatch

from helpers.plots.style import BLUE, GREEN, GREY, ORANGE, new_figure, save, styled

STRATEGIES = (
    ("1  Save and load", "one .keras file", BLUE, "Python with Keras", "where training goes on"),
    (
        "2  TensorFlow graph",
        "a SavedModel folder",
        ORANGE,
        "TensorFlow",
        "a server, without Keras code",
    ),
    ("3  ONNX", "one .onnx file", GREEN, "ONNX Runtime", "a place without TensorFlow"),
)
"""Title, artifact, colour, what runs it, and where that is."""


def plot_overview() -> Figure:
    """Draw the way of a Keras model through the three strategies, from left to right."""
    with styled():
        figure = new_figure(7.5, 2.7)
        axes = figure.subplots()
        axes.set(xlim=(0, 10), ylim=(0, 3))
        axes.set_axis_off()
        _box(axes, 0.05, 1.5, 1.9, GREY, "Keras model", "in one process")
        for row, (title, artifact, colour, engine, place) in enumerate(STRATEGIES):
            middle = 2.5 - row
            _box(axes, 3.15, middle, 2.75, colour, title, artifact)
            _box(axes, 6.95, middle, 3.0, colour, engine, place)
            _arrow(axes, (2.05, 1.5), (3.05, middle))
            _arrow(axes, (6.0, middle), (6.85, middle))
        return figure


def _box(
    axes: Axes, left: float, middle: float, width: float, colour: str, title: str, detail: str
) -> None:
    """Draw a frame around two lines of text."""
    frame = FancyBboxPatch(
        (left, middle - 0.34), width, 0.68, "round,pad=0,rounding_size=0.1",
        facecolor="white", edgecolor=colour, linewidth=2,
    )  # fmt: skip
    axes.add_patch(frame)
    centre = left + width / 2
    axes.text(centre, middle + 0.14, title, ha="center", va="center", weight="bold", color=colour)
    axes.text(centre, middle - 0.15, detail, ha="center", va="center", fontsize=9)


def _arrow(axes: Axes, start: tuple[float, float], end: tuple[float, float]) -> None:
    arrow = {"arrowstyle": "-|>", "color": GREY, "linewidth": 1.5, "shrinkA": 0, "shrinkB": 0}
    axes.annotate("", xy=end, xytext=start, arrowprops=arrow)


def main(arguments: list[str] | None = None) -> None:
    """Write the picture to the file that is named."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("path", type=Path, help="the PNG file to write")
    save(plot_overview(), parser.parse_args(arguments).path)


if __name__ == "__main__":
    main()
