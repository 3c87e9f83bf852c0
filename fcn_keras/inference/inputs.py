"""Reads whatever can be segmented (files, addresses, PIL images, arrays) as uint8 RGB."""

from __future__ import annotations

import tempfile
from os import PathLike
from pathlib import Path

import numpy as np
from PIL import Image

from fcn_keras.data.images import read_image, to_rgb
from fcn_keras.errors import InputError
from fcn_keras.storage import download

Photo = str | PathLike | Image.Image | np.ndarray
"""A path, an http(s) address, a PIL image, or an array ``(H, W[, 1, 3 or 4])``: uint8, or float
with values 0..255."""

MOST_BYTES = 100 * 2**20
SCHEMES = ("http://", "https://")


def read_photo(photo: Photo) -> np.ndarray:
    """The photo as uint8 RGB ``(H, W, 3)``.

    Files and PIL images are turned upright and refused if transparent, as in
    `fcn_keras.data.read_image`. Float arrays are rounded.

    Raises:
        InputError: it can't be read, or is not a picture.
    """
    if isinstance(photo, str) and photo.startswith(SCHEMES):
        return _fetch(photo)
    if isinstance(photo, str | PathLike):
        return read_image(Path(photo))
    if isinstance(photo, Image.Image):
        return to_rgb(photo, "given")
    return _from_array(np.asarray(photo))


def _fetch(url: str) -> np.ndarray:
    def check(done: int, total: int | None) -> None:
        if max(done, total or 0) > MOST_BYTES:
            raise InputError(
                f"{url} has more than {MOST_BYTES >> 20} MB: save it and give its path"
            )

    with tempfile.TemporaryDirectory() as folder:
        return read_image(download(url, Path(folder) / "photo", progress=check))


def _from_array(image: np.ndarray) -> np.ndarray:
    if not (image.ndim == 2 or (image.ndim == 3 and image.shape[2] in (1, 3, 4))) or not image.size:
        raise InputError(
            f"the image has shape {image.shape}, but must be (height, width, 3) or, "
            "for gray, (height, width)"
        )
    if np.issubdtype(image.dtype, np.floating):
        image = _from_float(image)
    if image.dtype != np.uint8:
        raise InputError(f"the image is {image.dtype}, but must be uint8, or float with 0..255")
    if image.ndim == 3 and image.shape[2] == 3:
        return image
    image = image[..., 0] if image.shape[2:] == (1,) else image
    return to_rgb(Image.fromarray(image), "given")


def _from_float(image: np.ndarray) -> np.ndarray:
    low, high = image.min(), image.max()
    if not (low >= 0 and high <= 255):
        raise InputError(f"the image has values from {low:.6g} to {high:.6g}, but must have 0..255")
    if 0 < high <= 1:
        raise InputError(
            f"the image has float values up to {high:.6g}, and looks scaled to 0..1, but the "
            "model takes 0..255 and normalises by itself: multiply it by 255"
        )
    return np.rint(image).astype(np.uint8)
