"""Pictures: palette masks, blends over the photo, panels of predictions, training curves."""

from __future__ import annotations

from collections.abc import Sequence
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from fcn_keras.data.classes import VOID, ClassTable
from fcn_keras.drawing import overlay, save_image, save_mask
from fcn_keras.storage import replacing

if TYPE_CHECKING:  # matplotlib takes a second to import
    from matplotlib.figure import Figure

__all__ = ["curves", "overlay", "panel", "save_image", "save_mask"]

# log.csv's columns, one axis each: title, and (column, label) of its lines.
CURVES = (
    ("cross-entropy", (("train_loss", "training"), ("val_loss", "validation"))),
    (
        "validation scores",
        (
            ("pixel_accuracy", "pixel accuracy"),
            ("mean_accuracy", "mean accuracy"),
            ("mean_iou", "mean IoU"),
            ("fw_iou", "frequency weighted IoU"),
        ),
    ),
    ("learning rate", (("learning_rate", "learning rate"),)),
)

# Width of a panel's column; each row is as high as its image then needs.
COLUMN_INCHES = 3


def panel(
    images: Sequence[np.ndarray],
    truths: Sequence[np.ndarray],
    predictions: Sequence[np.ndarray],
    classes: ClassTable,
    path: str | PathLike,
) -> None:
    """Draws a row for each sample, image | truth | prediction, and a legend of their classes.

    Args:
        images: uint8 ``(H, W, 3)`` each; sizes may differ.
        truths: Class ids uint8 ``(H, W)``, 255 = void, drawn in the void's colour.
        predictions: Class ids uint8 ``(H, W)``.
        classes: Gives colours and names.
        path: The PNG to write.
    """
    from matplotlib.figure import Figure

    rows = list(zip(images, truths, predictions, strict=True))
    heights = [COLUMN_INCHES * image.shape[0] / image.shape[1] for image in images]
    figure = Figure(figsize=(3 * COLUMN_INCHES, sum(heights) + 1), layout="constrained")
    axes = figure.subplots(len(rows), 3, squeeze=False, height_ratios=heights)
    for row, (image, *masks) in zip(axes, rows, strict=True):
        for axis, picture in zip(row, (image, *(classes.palette[m] for m in masks)), strict=True):
            axis.imshow(picture, interpolation="nearest")
            axis.set_axis_off()
    for axis, title in zip(axes[0], ("image", "truth", "prediction"), strict=True):
        axis.set_title(title)
    figure.legend(
        handles=_legend([*truths, *predictions], classes),
        loc="outside lower center",
        ncols=6,
        frameon=False,
        fontsize="small",
    )
    _save_figure(figure, path)


def _legend(masks: Sequence[np.ndarray], classes: ClassTable) -> list:
    from matplotlib.patches import Patch

    names = {**dict(enumerate(classes.names)), VOID: "void"}
    present = sorted(set(np.concatenate([np.unique(mask) for mask in masks]).tolist()))
    return [
        Patch(facecolor=classes.palette[label] / 255, edgecolor="black", linewidth=0.5, label=name)
        for label in present
        if (name := names.get(label))
    ]


def curves(csv_path: str | PathLike, png_path: str | PathLike) -> None:
    """Draws the losses, the scores and the learning rate of a run's ``log.csv`` over its epochs.

    Raises:
        InputError: the file is missing, has no rows, or lacks a column.
    """
    from matplotlib.figure import Figure
    from matplotlib.ticker import MaxNLocator

    from fcn_keras.training.log import read_log

    names = [column for _, lines in CURVES for column, _ in lines]
    rows = read_log(csv_path, ["epoch", *names])
    epochs = [row["epoch"] for row in rows]
    figure = Figure(figsize=(12, 4), layout="constrained")
    for axis, (title, lines) in zip(figure.subplots(1, len(CURVES)), CURVES, strict=True):
        for column, label in lines:
            values = [row[column] for row in rows]
            axis.plot(epochs, values, label=label, marker="." if len(epochs) < 30 else "")
        axis.set(title=title, xlabel="epoch")
        axis.xaxis.set_major_locator(MaxNLocator(integer=True))
        axis.grid(alpha=0.3)
        if len(lines) > 1:
            below = {"loc": "upper center", "bbox_to_anchor": (0.5, -0.15)}
            axis.legend(**below, ncols=2, fontsize="small", frameon=False)
    _save_figure(figure, png_path)


def _save_figure(figure: Figure, path: str | PathLike) -> None:
    with replacing(Path(path)) as temporary:
        figure.savefig(temporary, dpi=120)
