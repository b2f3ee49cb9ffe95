"""The figures that teach one point of one lesson."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.figure import Figure

from helpers.plots.style import BLUE, GREY, MARKERS, PALETTE, new_figure, styled


def plot_digits(images: np.ndarray, labels: np.ndarray) -> Figure:
    """Draw up to ten images ``(n, 8, 8, 1)`` in a row, each under its label."""
    with styled():
        figure = new_figure(7.0, 1.2)
        for axes, image, label in zip(figure.subplots(1, len(images)), images, labels, strict=True):
            axes.imshow(image[..., 0], cmap="gray_r", vmin=0, vmax=1)
            axes.set_title(str(label), loc="center")
            axes.set_axis_off()
        return figure


def plot_predictions(
    images: np.ndarray, labels: np.ndarray, probabilities: np.ndarray, accuracy: float
) -> Figure:
    """Draw images ``(n, 8, 8, 1)`` above the ten probabilities of each, ``(n, 10)``.

    The title states the accuracy, a share of all test images from 0 to 1. The bar of the true class
    is blue and labelled; the others are grey.
    """
    with styled():
        figure = new_figure(7.0, 3.1)
        grid = figure.subplots(2, len(images), height_ratios=[1, 1.2], squeeze=False)
        for column, (image, label, row) in enumerate(
            zip(images, labels, probabilities, strict=True)
        ):
            top, bottom = grid[:, column]
            top.imshow(image[..., 0], cmap="gray_r", vmin=0, vmax=1)
            top.set_title(f"true: {label}\nmodel: {row.argmax()}", loc="center", fontsize=9)
            top.set_axis_off()
            bars = bottom.bar(range(len(row)), row, color=GREY)
            bars[int(label)].set_color(BLUE)
            bottom.annotate(
                "true", (int(label), row[int(label)]), ha="center", va="bottom", fontsize=8
            )
            bottom.set_ylim(0, 1.15)
            bottom.set_xticks(range(0, len(row), 3))
            bottom.set_yticks([0, 1] if column == 0 else [])
        grid[1, 0].set_ylabel("probability")
        figure.suptitle(f"Test accuracy {accuracy:.1%}", fontsize=11, fontweight="bold")
        figure.supxlabel("digit", fontsize=10)
        return figure


def plot_resumed_training(
    losses_before: Sequence[float], losses_after: Mapping[str, Sequence[float]]
) -> Figure:
    """Draw the loss before and after an interruption, and how far each way to resume is off.

    Args:
        losses_before: one loss for each epoch before the interruption.
        losses_after: way to go on -> one loss for each epoch after it. The first one was never
            interrupted; the right panel shows the distance of the others from it.
    """
    with styled():
        figure = new_figure(7.4, 3.2)
        curves, distances = figure.subplots(1, 2, width_ratios=[1.2, 1])
        first_epoch = len(losses_before) + 1
        curves.plot(range(1, first_epoch), losses_before, color=GREY, marker=".", label="before")
        reference = np.array(next(iter(losses_after.values())))
        epochs = np.arange(first_epoch, first_epoch + len(reference))
        for index, (name, losses) in enumerate(losses_after.items()):
            style = {"color": PALETTE[index], "marker": MARKERS[index], "label": name}
            curves.plot(epochs, losses, markersize=9 - 3 * index, **style)
            if index > 0:
                distances.plot(epochs, np.array(losses) - reference, **style)
        curves.axvline(first_epoch - 0.5, color=GREY, linewidth=1, linestyle="--")
        curves.text(first_epoch - 0.6, 0.97, "saved", ha="right", va="top", color=GREY,
                    transform=curves.get_xaxis_transform())  # fmt: skip
        curves.set(xlabel="epoch", ylabel="training loss", ylim=(0, None))
        curves.legend()
        distances.axhline(0, color=GREY, linewidth=1)
        distances.set(xlabel="epoch", xticks=epochs, title="Distance from never interrupted")
        distances.set_ylabel("difference of the loss")
        distances.legend()
        return figure
