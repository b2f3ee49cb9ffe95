"""Figures look the same everywhere, and say in words what they show."""

from __future__ import annotations

import io
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import matplotlib
import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure
from matplotlib.image import imread

import overview
from helpers import plots
from helpers.costs.install import DistributionSize, InstallFootprint
from helpers.costs.statistics import summarize
from helpers.formats import ArtifactSize
from helpers.lessons import figures
from helpers.parity import LayerComparison, LayerReport, compare_outputs
from helpers.plots import style
from helpers.scorecard.figure import plot_scorecard
from helpers.serving import RequestResult, stored_fault_report

ALT = "A line that rises from left to right."
RANDOM = np.random.default_rng(0)
IMAGES = RANDOM.random((3, 8, 8, 1), dtype=np.float32)
LABELS = np.array([4, 0, 9])
PROBABILITIES = RANDOM.dirichlet(np.ones(10), size=3)
SIZE = ArtifactSize(Path("a.keras"), "keras", 4096, 1024, 1024, 2048, (), ())
SIZES = {"a.keras": SIZE, "a.h5": replace(SIZE, total_bytes=8192)}

LATENCIES = [
    SimpleNamespace(candidate=name, batch_size=size, p50_us=p50, iqr_us=2.0)
    for name, p50 in [("a.keras", 90.0), ("a.onnx", 9.0)]
    for size in (1, 32)
]
COLD_STARTS = [
    SimpleNamespace(candidate="a.keras", import_ms=900.0, load_ms=90.0, first_inference_ms=40.0),
    SimpleNamespace(candidate="a.onnx", import_ms=90.0, load_ms=9.0, first_inference_ms=4.0),
]
CARD = pd.DataFrame(
    {"parity": ["passed", "FAILED"], "size_kib": [300.0, 90.0], "rows_per_s": [900.0, np.nan]},
    index=["a.keras", "a.onnx"],
)
SAME = compare_outputs(np.ones((2, 3), np.float32), np.ones((2, 3), np.float32))
OTHER = compare_outputs(np.ones((2, 3), np.float32), np.zeros((2, 3), np.float32))

REQUESTS = RequestResult(100, 2e3, 1e2, 3e3, None, None, 1, 0, "", 400.0)
LAYERS = LayerReport(
    (
        LayerComparison("conv_1", "Conv2D", "a", (1, 8), "same", 1e-7, 1.0),
        LayerComparison("conv_2", "Conv2D", "b", (1, 8), "diverged", 1e-3, 5000.0),
        LayerComparison("dropout", "Dropout", None, (1, 8)),
    )
)
FOOTPRINT = InstallFootprint("a", (DistributionSize("a", "1.0", 80.0),))


def squaring() -> Any:
    """Trace a function of one operator."""
    import tensorflow as tf

    return tf.function(tf.square).get_concrete_function(tf.TensorSpec((None, 3), tf.float32))


FIGURES: dict[str, Callable[[], Figure]] = {
    "plot_digits": lambda: figures.plot_digits(IMAGES, LABELS),
    "plot_insides": lambda: figures.plot_insides(
        {"a.keras": {"metadata.json": "about the file", "config.json": "architecture"}}
    ),
    "plot_graph": lambda: figures.plot_graph(squaring()),
    "plot_predictions": lambda: figures.plot_predictions(IMAGES, LABELS, PROBABILITIES, 0.97),
    "plot_request_latency": lambda: plots.plot_request_latency(
        SimpleNamespace(results=[REQUESTS, replace(REQUESTS, clients=8, p90_us=None)]),
        summarize(np.full(3, 4e5)),
    ),
    "plot_resumed_training": lambda: figures.plot_resumed_training(
        [1.0, 0.5], {"whole": [0.4, 0.3], ".keras": [0.4, 0.3], ".h5": [0.45, 0.35]}
    ),
    "plot_size": lambda: plots.plot_size(
        {"a.keras": SIZE, "a.h5": replace(SIZE, total_bytes=8192)}
    ),
    "plot_layers": lambda: plots.plot_layers(LAYERS, factor=4.0),
    "plot_install_footprint": lambda: plots.plot_install_footprint({"a": FOOTPRINT}),
    "plot_parity": lambda: plots.plot_parity({"a.keras": SAME, "a.onnx": OTHER}),
    "plot_latency": lambda: plots.plot_latency(SimpleNamespace(results=LATENCIES)),
    "plot_cold_start": lambda: plots.plot_cold_start(SimpleNamespace(results=COLD_STARTS)),
    "plot_scorecard": lambda: plot_scorecard(SimpleNamespace(table=CARD)),
    "plot_faults": lambda: plots.plot_faults(stored_fault_report()),
    "plot_request_scaling": lambda: plots.plot_request_scaling(
        SimpleNamespace(results=[REQUESTS, replace(REQUESTS, clients=8, requests_per_s=900.0)])
    ),
    "plot_overview": overview.plot_overview,
}


def line() -> Figure:
    figure = style.new_figure(2.0, 1.0)
    with style.styled():
        figure.subplots().plot([0, 1], [0, 1])
    return figure


@pytest.mark.parametrize(("highest", "marks"), [(300.0, [100, 200]), (90_000.0, [1000, 10_000])])
def test_an_axis_of_times_has_marks_to_read_from(highest: float, marks: list[float]) -> None:
    """Powers of ten alone left one mark between 90 and 300."""
    results = [
        SimpleNamespace(candidate="a", batch_size=size, p50_us=p50_us, iqr_us=2.0)
        for size, p50_us in [(1, 95.0), (8, highest)]
    ]
    axes = plots.plot_latency(SimpleNamespace(results=results)).axes[0]
    low, high = axes.get_ylim()
    assert set(marks) <= {tick for tick in axes.get_yticks() if low <= tick <= high}
    assert axes.yaxis.get_major_formatter()(1000) == "1,000"


@pytest.mark.filterwarnings("error")
def test_a_scorecard_of_zeros_has_axes_with_a_length() -> None:
    table = pd.DataFrame({"parity": ["passed"], "cold_start_ms": [0.0]}, index=["a.onnx"])
    (axes,) = plot_scorecard(SimpleNamespace(table=table)).axes
    assert axes.get_xlim() == (0.0, 1.6)


@pytest.fixture
def shown(monkeypatch: pytest.MonkeyPatch) -> list[tuple[Any, dict[str, Any]]]:
    """What was handed to the notebook, one entry for each display."""
    calls: list[tuple[Any, dict[str, Any]]] = []
    monkeypatch.setattr(style, "display", lambda data, **options: calls.append((data, options)))
    return calls


def test_a_figure_is_shown_with_its_text(shown: list[tuple[Any, dict[str, Any]]]) -> None:
    plots.show(line(), alt=ALT)
    ((data, options),) = shown
    assert data["image/png"].startswith(b"\x89PNG")
    assert data["text/plain"] == f"Figure: {ALT}"
    assert options == {"metadata": {"image/png": {"alt": ALT}}, "raw": True}


@pytest.mark.parametrize("alt", ["", "   ", "a line", "four words only here"])
def test_a_figure_without_a_sentence_is_refused(
    alt: str, shown: list[tuple[Any, dict[str, Any]]]
) -> None:
    with pytest.raises(ValueError, match="expected a sentence"):
        plots.show(line(), alt=alt)
    assert shown == []


def test_every_figure_of_the_series_is_drawn_here() -> None:
    drawn = {
        name
        for name in [*plots.__all__, *figures.__all__, "plot_scorecard"]
        if name.startswith("plot_")
    }
    assert drawn | {"plot_overview"} == set(FIGURES)


@pytest.fixture(params=FIGURES)
def draw(request: pytest.FixtureRequest) -> Callable[[], Figure]:
    return FIGURES[request.param]


def test_the_same_data_give_the_same_bytes_in_any_session(draw: Callable[[], Figure]) -> None:
    before = style.to_png(draw())
    with matplotlib.rc_context({"savefig.facecolor": "none", "font.size": 30}):
        assert style.to_png(draw()) == before


def test_the_figure_has_content_on_an_opaque_white_page(draw: Callable[[], Figure]) -> None:
    found = pixels(style.to_png(draw()))
    assert found.shape[2] == 3 or (found[..., 3] == 1).all()
    assert (found[[0, 0, -1, -1], [0, -1, 0, -1], :3] == 1).all()
    assert 0.005 < (found[..., :3] < 0.9).any(axis=2).mean() < 0.9


def test_a_transparent_figure_is_found() -> None:
    clear = line()
    clear.set_facecolor("none")
    buffer = io.BytesIO()
    clear.savefig(buffer, format="png", transparent=True)
    assert (pixels(buffer.getvalue())[..., 3] < 1).any()


def test_colour_is_never_alone() -> None:
    """Curves differ in their marks, and the parts of a bar in their hatches."""
    lines = FIGURES["plot_resumed_training"]().axes[0].get_lines()
    curves = [line for line in lines if not line.get_label().startswith("_")]
    assert len({curve.get_marker() for curve in curves}) == len(curves) == 4
    parts = FIGURES["plot_size"]().axes[0].containers
    assert len({part.patches[0].get_hatch() for part in parts}) == len(parts) == 3


def test_a_figure_is_saved_as_png_only(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"ends in \.png"):
        plots.save(line(), tmp_path / "line.jpg")
    assert list(tmp_path.iterdir()) == []


def test_the_command_writes_the_picture_of_the_readme(tmp_path: Path) -> None:
    overview.main([str(tmp_path / "overview.png")])
    written = (tmp_path / "overview.png").read_bytes()
    assert written == style.to_png(overview.plot_overview())


def pixels(png: bytes) -> np.ndarray:
    """Decode a PNG: rows, columns, colours from 0 to 1."""
    return imread(io.BytesIO(png))
