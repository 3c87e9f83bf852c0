"""Class maps as pictures: palette masks, blends over the photo, legends."""

from __future__ import annotations

from collections.abc import Iterable
from os import PathLike
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from fcn_keras.data.classes import ClassTable
from fcn_keras.errors import InputError
from fcn_keras.storage import replacing

FONT_SIZE, ROW, SWATCH = 16, 26, 18  # pixels of a legend


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


def legend(rows: Iterable[tuple[str, tuple[int, int, int]]]) -> np.ndarray:
    """A row for each name, with a square of its colour in front: uint8 ``(h, w, 3)``."""
    rows = list(rows)
    font = ImageFont.load_default(FONT_SIZE)
    widths = [font.getlength(name) for name, _ in rows]
    width = 2 * ROW + int(max(widths, default=0))
    picture = Image.new("RGB", (width, ROW * max(1, len(rows))), "white")
    draw = ImageDraw.Draw(picture)
    for number, (name, color) in enumerate(rows):
        top = ROW * number + (ROW - SWATCH) // 2
        square = (SWATCH // 3, top, SWATCH // 3 + SWATCH, top + SWATCH)
        draw.rectangle(square, fill=tuple(color), outline="black")
        draw.text((ROW + SWATCH // 2, ROW * number + ROW // 2), name, "black", font, anchor="lm")
    return np.asarray(picture)


def beside(*pictures: np.ndarray) -> np.ndarray:
    """Pictures side by side at the top, on white: uint8 ``(h, w, 3)``."""
    height = max(len(picture) for picture in pictures)
    margins = [((0, height - len(picture)), (0, 0), (0, 0)) for picture in pictures]
    padded = [
        np.pad(picture, margin, constant_values=255)
        for picture, margin in zip(pictures, margins, strict=True)
    ]
    return np.concatenate(padded, axis=1)
