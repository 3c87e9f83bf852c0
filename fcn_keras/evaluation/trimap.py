"""Bands around the borders between classes, in which segmentation is hardest."""

from __future__ import annotations

import numpy as np

WIDTHS = tuple(range(1, 41))
"""Widths in pixels, as in the FCN paper and in Krähenbühl and Koltun (NIPS 2011)."""


def border_distances(mask: np.ndarray, most: int = WIDTHS[-1]) -> np.ndarray:
    """How far each pixel is from a border between labels, void being one of them.

    Pixels that touch one, side by side, have distance 0, and the larger of the differences in rows
    and columns counts from there. So a band of width w, on each side of a border, holds the
    distances below w.

    Args:
        mask: Labels ``(H, W)``.
        most: Distances from here on are all given as `most`.

    Returns:
        int32 ``(H, W)``.
    """
    import cv2

    away = np.ones(mask.shape, np.uint8)
    for axis in (0, 1):
        lines, found = np.moveaxis(mask, axis, 0), np.moveaxis(away, axis, 0)
        same = lines[1:] == lines[:-1]
        found[1:] &= same
        found[:-1] &= same
    if away.all():  # OpenCV's distances end short of infinity
        return np.full(mask.shape, most, np.int32)
    return np.minimum(cv2.distanceTransform(away, cv2.DIST_C, 3), most).astype(np.int32)
