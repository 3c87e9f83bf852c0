"""Pictures: palette masks, blends over the photo, panels of predictions, training curves."""

from __future__ import annotations

from collections.abc import Sequence
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from fcn_keras.data.classes import VOID, ClassTable
from fcn_keras.errors import InputError
from fcn_keras.storage import replacing

if TYPE_CHECKING:  # matplotlib takes a second to import
    from matplotlib.figure import Figure

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


def save_mask(path: str | PathLike, mask: np.ndarray, classes: ClassTable) -> None:
    """Writes class ids, uint8 ``(H, W)``, as a palette PNG like PASCAL VOC's masks.

    The pixels are the class ids; the palette gives them the class colours.
    """
    image = Image.fromarray(np.asarray(mask, np.uint8))
    image.putpalette(classes.palette.tobytes())
    save_image(path, image)


def overlay(
    image: np.ndarray, mask: np.ndarray, classes: ClassTable, alpha: float = 0.4
) -> np.ndarray:
    """The class colours over a photo: ``(1 - alpha) * image + alpha * colour``.

    Args:
        image: uint8 ``(H, W, 3)``.
        mask: Class ids uint8 ``(H, W)``.
        classes: Gives the colours.
        alpha: Weight of the colours, 0..1.

    Returns:
        uint8 ``(H, W, 3)``.
    """
    blend = (1 - alpha) * image + alpha * classes.palette[mask]
    return np.round(blend).astype(np.uint8)


def save_image(path: str | PathLike, image: Image.Image | np.ndarray) -> None:
    """Writes an image in the format that the file's extension names, whole or not at all.

    The folder is created if it doesn't exist.

    Raises:
        InputError: no format has this extension.
        SaveError: it can't be written.
    """
    image = image if isinstance(image, Image.Image) else Image.fromarray(image)
    path = Path(path)
    if path.suffix.lower() not in Image.registered_extensions():
        raise InputError(f"picture {path} has an unknown file extension: name it *.png or *.jpg")
    path.parent.mkdir(parents=True, exist_ok=True)
    with replacing(path) as temporary:
        image.save(temporary, quality=95)


def panel(
    images: Sequence[np.ndarray],
    truths: Sequence[np.ndarray],
    predictions: Sequence[np.ndarray],
    classes: ClassTable,
    path: str | PathLike,
) -> None:
    """Draws a row a sample, image | truth | prediction, and a legend of the classes that occur.

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
