"""The report's charts, as PNGs. Each takes the models by name."""

from __future__ import annotations

import io
from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from fcn_keras.data.classes import ClassTable
from fcn_keras.evaluation.confusion import ConfusionMatrix, Scores
from fcn_keras.evaluation.details import Details
from fcn_keras.evaluation.trimap import WIDTHS

if TYPE_CHECKING:  # matplotlib takes a second to import
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

DPI = 110
MOST_NUMBERS = 25  # classes up to which a heat map's cells have numbers


def bars(scores: Mapping[str, Scores], classes: ClassTable) -> bytes:
    """The IoU of each class: a bar for each model, in the class's colour for a single one."""
    figure = _figure(9, 0.28 * len(classes) * max(1, 0.7 * len(scores)) + 1)
    axis = figure.subplots()
    places, height = np.arange(len(classes)), 0.8 / len(scores)
    colors = np.array(classes.colors) / 255 if len(scores) == 1 else None
    for number, (name, one) in enumerate(scores.items()):
        axis.barh(
            places + number * height,
            100 * np.nan_to_num(one.iou),
            height,
            label=name,
            color=colors,
            edgecolor="black",
            linewidth=0.4,
        )
    axis.set(xlabel="IoU, %", xlim=(0, 100), yticks=places + 0.4 - height / 2)
    axis.set_yticklabels(classes.names)
    axis.invert_yaxis()
    axis.grid(axis="x", alpha=0.3)
    if len(scores) > 1:
        axis.legend()
    return _png(figure)


def heat_map(confusion: ConfusionMatrix, classes: ClassTable) -> bytes:
    """The confusion matrix, each row in percent of the class's true pixels."""
    counts = confusion.counts
    shares = 100 * counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    side = max(4.0, min(0.42 * len(classes), 24)) + 2
    figure = _figure(side, 0.88 * side)
    axis = figure.subplots()
    picture = axis.imshow(shares, cmap="Blues", vmin=0, vmax=100)
    places = range(len(classes))
    axis.set(xlabel="predicted", ylabel="truth", xticks=places, yticks=places)
    axis.set_xticklabels(classes.names, rotation=90)
    axis.set_yticklabels(classes.names)
    if len(classes) <= MOST_NUMBERS:
        for (row, column), share in np.ndenumerate(shares):
            if share >= 0.5:
                color = "white" if share > 50 else "black"
                axis.text(
                    column, row, f"{share:.0f}", color=color, ha="center", va="center", fontsize=7
                )
    figure.colorbar(picture, label="% of the class's pixels", shrink=0.7)
    return _png(figure)


def trimap(details: Mapping[str, Details]) -> bytes:
    """Pixel accuracy and mean IoU in bands around borders, over the bands' width."""
    figure = _figure(9, 3.6)
    axes = figure.subplots(1, 2)
    for name, one in details.items():
        scores = one.trimap()
        axes[0].plot(WIDTHS, [100 * score.pixel_accuracy for score in scores], label=name)
        axes[1].plot(WIDTHS, [100 * score.mean_iou for score in scores], label=name)
    for axis, title in zip(axes, ("pixel accuracy, %", "mean IoU, %"), strict=True):
        axis.set(title=title, xlabel="width of the band, pixels on each side")
        axis.grid(alpha=0.3)
    _legend(axes[1], details)
    return _png(figure)


def calibration(details: Mapping[str, Details]) -> bytes:
    """The share of correct pixels by the model's confidence, and how many pixels have each."""
    figure = _figure(9, 3.6)
    curve, histogram = figure.subplots(1, 2)
    curve.plot([0, 1], [0, 1], color="gray", linestyle=":", linewidth=1)
    for name, one in details.items():
        confidence, accuracy = one.calibration()
        curve.plot(confidence, accuracy, marker=".", label=name)
        edges = np.linspace(0, 1, len(one.pixels) + 1)
        histogram.stairs(100 * one.pixels / max(one.pixels.sum(), 1), edges, label=name)
    curve.set(title="share of correct pixels", xlabel="confidence", xlim=(0, 1), ylim=(0, 1))
    histogram.set(title="pixels, %", xlabel="confidence", xlim=(0, 1))
    for axis in (curve, histogram):
        axis.grid(alpha=0.3)
    _legend(histogram, details)
    return _png(figure)


def _legend(axis: Axes, names: Mapping[str, Details]) -> None:
    if len(names) > 1:
        axis.legend(fontsize="small")


def _figure(width: float, height: float) -> Figure:
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), layout="constrained")


def _png(figure: Figure) -> bytes:
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=DPI)
    return buffer.getvalue()
