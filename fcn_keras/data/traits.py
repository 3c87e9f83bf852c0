"""What `check` notes about each sample, for warnings about the whole set."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from PIL import Image

from fcn_keras.data.classes import VOID
from fcn_keras.data.images import turned_upright
from fcn_keras.data.mask_values import Colors

HASH_SIDE = 8
_FLAT = 4.0  # standard deviation of gray, below which a picture has nothing to compare
# Of correct masks, mirrored or turned, none in CamVid passes this and one in 40 in VOC; of masks
# that were not turned, it finds all in CamVid and six in ten in VOC.
_STRONGER = 1.3


@dataclass(frozen=True)
class Traits:
    """One sample.

    Attributes:
        size: Height and width in pixels.
        fingerprint: ``(64,)`` of -1 and 1, equal for pictures that look alike; None for flat ones.
        labels: The classes in the mask.
        blended: `blended_share` of the mask.
        coding: How the mask was read: by class ids, by colour, or by ids against its own palette.
        fits_stored: Whether the mask lies better on the photo as it is stored than on the upright
            one; None where both are the same, or their sizes differ.
    """

    size: tuple[int, int]
    fingerprint: np.ndarray | None
    labels: frozenset[int]
    blended: float | None
    coding: Literal["ids", "colours", "other palette"]
    fits_stored: bool | None = None


def traits(
    image: np.ndarray,
    mask: np.ndarray,
    path: Path,
    colors: Colors | None,
    orientation: int = 1,
) -> Traits:
    """The traits of an image uint8 ``(H, W, 3)`` and the mask uint8 ``(H, W)`` read from `path`.

    `orientation` is the image's EXIF orientation, from which it was turned upright.
    """
    height, width = mask.shape
    return Traits(
        (height, width),
        fingerprint(image),
        frozenset(np.unique(mask).tolist()) - {VOID},
        blended_share(mask),
        _coding(path, mask, colors),
        fits_stored(image, mask, orientation),
    )


def fingerprint(image: np.ndarray) -> np.ndarray | None:
    """Whether each of 8 x 8 places is darker than the next one to its right: a difference hash.

    Two pictures' distance, the number of places that differ, is ``(64 - a @ b) / 2``.

    Args:
        image: uint8 ``(H, W, 3)``.

    Returns:
        ``(64,)`` float32 of -1 and 1; None where the picture is flat.
    """
    gray = Image.fromarray(image).convert("L")
    small = np.asarray(gray.resize((HASH_SIDE + 1, HASH_SIDE), Image.Resampling.BOX), np.float32)
    if small.std() < _FLAT:
        return None
    return np.where(small[:, 1:] > small[:, :-1], 1, -1).astype(np.float32).ravel()


def blended_share(mask: np.ndarray) -> float | None:
    """Share of borders between classes two or more ids apart that have ids between on the border.

    Smoothing the edges of a mask of ids leaves lines of one or two pixels there, whose ids lie
    between those of both sides; in hand-drawn masks few borders look like that.

    Args:
        mask: uint8 ``(H, W)``.

    Returns:
        0..1; None where there is no such border.
    """
    ids = np.where(mask == VOID, -1000, mask.astype(np.int32))
    direct = between = 0
    for lines in (ids, ids.T):
        left, right = lines[:, :-1], lines[:, 1:]
        direct += int(np.count_nonzero((abs(left - right) >= 2) & (left >= 0) & (right >= 0)))
        for gap in (2, 3):
            if lines.shape[1] <= gap:
                continue
            left, right = lines[:, :-gap], lines[:, gap:]
            middle = [lines[:, step : step - gap] for step in range(1, gap)]
            rises = np.logical_and.reduce([(left < m) & (m < right) for m in middle])
            falls = np.logical_and.reduce([(left > m) & (m > right) for m in middle])
            between += int(np.count_nonzero((rises & (left >= 0)) | (falls & (right >= 0))))
    borders = direct + between
    return between / borders if borders else None


def fits_stored(image: np.ndarray, mask: np.ndarray, orientation: int) -> bool | None:
    """Whether the borders in a mask lie on stronger edges once the mask is turned like the photo.

    Args:
        image: The upright photo, uint8 ``(H, W, 3)``.
        mask: Labels ``(H, W)``, which should be upright too.
        orientation: The EXIF orientation of the photo's file.

    Returns:
        None where turning changes nothing, or changes the size.
    """
    turned = turned_upright(mask, orientation)
    if turned.shape != mask.shape or (turned == mask).all():
        return None
    gray = np.asarray(Image.fromarray(image).convert("L"), np.float32)
    return edge_strength(gray, turned) > _STRONGER * edge_strength(gray, mask)


def edge_strength(gray: np.ndarray, mask: np.ndarray) -> float:
    """The mean difference of neighbours in a picture ``(H, W)`` across borders in a mask."""
    total, borders = 0.0, 0
    for values, labels in ((gray, mask), (gray.T, mask.T)):
        changes = labels[1:] != labels[:-1]
        total += float(abs(values[1:] - values[:-1])[changes].sum())
        borders += int(changes.sum())
    return total / max(borders, 1)


def _coding(
    path: Path, mask: np.ndarray, colors: Colors | None
) -> Literal["ids", "colours", "other palette"]:
    if colors is None:
        return "ids"
    with Image.open(path) as image:
        if image.mode not in ("P", "L", "1", "I", "I;16", "I;16B"):
            return "colours"
        values = np.array(image)
        if (values != mask).any():
            return "colours"
        if image.mode == "P":
            palette = np.array(image.getpalette() or (), np.uint8).reshape(-1, 3)
            used = [i for i in np.unique(values) if i < min(len(colors), len(palette))]
            if (palette[used] != np.array(colors)[used]).any():
                return "other palette"
    return "ids"
