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
    is blue and labelled "true"; where the model chose another one, that one is labelled "model".
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
            words = {int(row.argmax()): "model"} | {int(label): "true"}
            for digit, word in words.items():
                bottom.annotate(word, (digit, row[digit]), ha="center", va="bottom", fontsize=8)
            bottom.set_ylim(0, 1.15)
            bottom.set_xticks(range(0, len(row), 3))
            bottom.set_yticks([0, 0.5, 1], ["0", "0.5", "1"] if column == 0 else [])
        grid[1, 0].set_ylabel("probability")
        figure.suptitle(f"Test accuracy {accuracy:.1%}", fontsize=11, fontweight="bold")
        figure.supxlabel("digit", fontsize=10)
        return figure


ROLES = ("about the file", "architecture", "compile settings", "weights", "optimizer state")


def plot_insides(insides: Mapping[str, Mapping[str, str]]) -> Figure:
    """Draw what is inside each file: a column for each file, a box for each part.

    Args:
        insides: title of the file -> name of the part -> its role, one of `ROLES`. Boxes with one
            role have one colour and one row.
    """
    with styled():
        figure = new_figure(7.4, 0.5 + 0.45 * len(ROLES))
        axes = figure.subplots()
        for column, (title, parts) in enumerate(insides.items()):
            axes.text(column, -0.8, title, ha="center", va="center", fontweight="bold")
            for part, role in parts.items():
                row = ROLES.index(role)
                colours = {"color": PALETTE[row], "edgecolor": PALETTE[row], "alpha": 0.25}
                axes.barh(row, 0.92, 0.8, column - 0.46, linewidth=1.5, **colours)
                name, kind = {"family": "monospace", "fontsize": 9}, {"fontsize": 8}
                axes.text(column, row - 0.16, part, name, ha="center", va="center")
                axes.text(column, row + 0.2, role, kind, ha="center", va="center")
        axes.set(xlim=(-0.55, len(insides) - 0.45), ylim=(len(ROLES) - 0.4, -1.2))
        axes.set_axis_off()
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
        figure = new_figure(7.4, 3.4)
        curves, distances = figure.subplots(1, 2, width_ratios=[1, 1.1])
        first_epoch = len(losses_before) + 1
        curves.plot(
            range(1, first_epoch), losses_before, color=GREY, marker=".", label="before saving"
        )
        reference = np.array(next(iter(losses_after.values())))
        epochs = np.arange(first_epoch, first_epoch + len(reference))
        for index, (name, losses) in enumerate(losses_after.items()):
            style = {"color": PALETTE[index], "marker": MARKERS[index], "label": name}
            curves.plot(epochs, losses, markersize=9 - 3 * index, **style)
            if index > 0:
                distances.plot(epochs, np.array(losses) - reference, **style)
        curves.axvline(first_epoch - 0.5, color=GREY, linewidth=1, linestyle="--")
        curves.set(xlabel="epoch", ylabel="training loss", ylim=(0, None))
        distances.axhline(0, color=BLUE, linewidth=1)
        distances.set(xlabel="epoch", xticks=epochs)
        distances.set_ylabel("loss minus the uninterrupted loss")
        handles, labels = curves.get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside upper left", ncols=4, fontsize=9)
        return figure
