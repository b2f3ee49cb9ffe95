"""One style for every figure, what rows are drawn with, and `show`, which displays a figure."""

from __future__ import annotations

import io
from collections.abc import Sequence
from contextlib import ContextDecorator
from pathlib import Path
from typing import Any

import matplotlib
from IPython.display import display
from matplotlib.axes import Axes
from matplotlib.figure import Figure

BLUE = "#0072B2"
ORANGE = "#D55E00"
GREEN = "#009E73"
PINK = "#CC79A7"
SKY = "#56B4E9"
GREY = "#6B6B6B"
LIGHT = "#E6E6E6"
PALETTE = (BLUE, ORANGE, GREEN, PINK, SKY, GREY)
"""Okabe and Ito's colours, which people with a colour vision deficiency can tell apart.

https://jfly.uni-koeln.de/color/. Figures add markers, hatches or labels: never colour alone.
"""

HATCHES = ("", "///", "...", "xxx", "\\\\\\", "++")
MARKERS = ("o", "s", "^", "D", "v", "P")

STYLE = {
    # Opaque: a transparent figure has black text on a black page in the dark theme.
    "figure.facecolor": "white",
    "axes.facecolor": "white",
    "savefig.facecolor": "white",
    "figure.dpi": 110,
    "savefig.dpi": "figure",
    "font.size": 10,
    "axes.titlesize": 11,
    "axes.titlelocation": "left",
    "axes.titleweight": "bold",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
    "axes.grid": False,
    "grid.color": LIGHT,
    "legend.frameon": False,
    "axes.prop_cycle": matplotlib.cycler(color=PALETTE),
}


def styled() -> ContextDecorator:
    """Return a context, and decorator, in which axes and texts get the style of the series."""
    return matplotlib.rc_context(STYLE)


@styled()
def new_figure(width: float = 7.0, height: float = 3.2) -> Figure:
    """Make an empty figure in the style of the series, `width` x `height` inches."""
    return Figure(figsize=(width, height), layout="constrained")


def draw_bars(axes: Axes, names: Sequence[str], values: Sequence[float], **look: Any) -> None:
    """Draw a bar for each name, the first one at the top; `look` goes to `Axes.barh`."""
    axes.barh(names, values, height=0.6, **look)
    axes.yaxis.set_inverted(True)


def write_behind(
    axes: Axes, ends: Sequence[float], texts: Sequence[str], room: float, **look: Any
) -> None:
    """Write a text where each bar ends, and make the axis `room` times as long as the longest."""
    for row, (end, text) in enumerate(zip(ends, texts, strict=True)):
        axes.text(end, row, text, va="center", **look)
    axes.set_xlim(0, room * (max(ends) or 1.0))


def draw_point(axes: Axes, x: float, row: int, text: str, **look: Any) -> None:
    """Draw a point with its text beside it; `look` goes to `Axes.plot`."""
    axes.plot(x, row, **{"marker": "o", "color": BLUE, "markersize": 9, **look})
    axes.annotate(text, (x, row), (9, 0), textcoords="offset points", va="center")


def frame_points(axes: Axes, names: Sequence[str], limit: float, limit_name: str) -> None:
    """Name the rows, the first one at the top, on a logarithmic axis with a line at the limit."""
    axes.axvline(limit, color=GREY, linestyle="--", linewidth=1)
    above = axes.get_xaxis_transform()
    axes.text(limit, 1.0, limit_name, color=GREY, transform=above, va="bottom", ha="center")
    axes.set_yticks(range(len(names)), names)
    axes.set(xscale="log", ylim=(len(names) - 0.5, -0.5))


@styled()
def to_png(figure: Figure) -> bytes:
    """Render a figure as PNG bytes; the same figure, drawn anew, gives the same bytes."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", metadata={"Software": None})
    return buffer.getvalue()


def save(figure: Figure, path: str | Path) -> None:
    """Write a figure as a PNG file.

    Raises:
        ValueError: the name does not end in ``.png``.
    """
    path = Path(path)
    if path.suffix.lower() != ".png":
        raise ValueError(f"path: expected a name that ends in .png, got {path.name!r}")
    path.write_bytes(to_png(figure))


def show(figure: Figure, alt: str) -> None:
    """Display a figure in a notebook, with alternative text for those who cannot see it.

    The text travels twice: as the image's ``alt`` metadata, which some exports use (JupyterLab and
    nbconvert's own page leave it out), and as the plain text of the output.

    Args:
        figure: the figure.
        alt: what the figure shows, as a sentence with its conclusion.

    Raises:
        ValueError: `alt` is empty or no sentence.
    """
    if len(alt.split()) < 5:
        raise ValueError(f"alt: expected a sentence that says what the figure shows, got {alt!r}")
    display(
        {"image/png": to_png(figure), "text/plain": f"Figure: {alt}"},
        metadata={"image/png": {"alt": alt}},
        raw=True,
    )
