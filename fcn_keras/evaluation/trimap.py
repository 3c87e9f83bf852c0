"""Bands around the borders between classes, in which segmentation is hardest."""

from __future__ import annotations

import numpy as np

WIDTHS = tuple(range(1, 41))
"""Widths in pixels, as in the paper of FCN and in Krähenbühl and Koltun (NIPS 2011)."""


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
    near = np.zeros(mask.shape, bool)
    for axis in (0, 1):
        lines, found = np.moveaxis(mask, axis, 0), np.moveaxis(near, axis, 0)
        changes = lines[1:] != lines[:-1]
        found[1:] |= changes
        found[:-1] |= changes
    distances = np.full(mask.shape, most, np.int32)
    for distance in range(most):
        distances[near & (distances == most)] = distance
        near = _grown(near)
    return distances


def _grown(area: np.ndarray) -> np.ndarray:
    """An area and all pixels that touch it, also by a corner."""
    for axis in (0, 1):
        lines = np.moveaxis(area, axis, 0)
        grown = lines.copy()
        grown[1:] |= lines[:-1]
        grown[:-1] |= lines[1:]
        area = np.moveaxis(grown, 0, axis)
    return area
