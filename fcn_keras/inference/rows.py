"""Maps of a photo that are computed from top to bottom, some rows at a time.

Each has ``rows(first, last)``: the rows from `first` up to `last`, ``(last - first, W, C)``. Calls
go downwards: what lies above the latest `first` is forgotten.
"""

from __future__ import annotations

from typing import Protocol

import numpy as np


class Rows(Protocol):
    """A map that gives its rows; `size` is its height and width."""

    size: tuple[int, int]

    def rows(self, first: int, last: int) -> np.ndarray: ...


class Array:
    """A map that is in memory."""

    def __init__(self, values: np.ndarray):
        self.values = values
        self.size = values.shape[:2]

    def rows(self, first: int, last: int) -> np.ndarray:
        return self.values[first:last]


class Resized:
    """A map at another size, and mirrored if asked, as `fcn_keras.inference.tta` does it."""

    def __init__(self, source: Rows, size: tuple[int, int], mirror: bool):
        self.source = source
        self.size = size
        (height, width), (new_height, new_width) = source.size, size
        self._lines = _neighbours(height, new_height)
        self._columns = _neighbours(width, new_width)
        if mirror:
            self._columns = tuple(part[::-1] for part in self._columns)

    def rows(self, first: int, last: int) -> np.ndarray:
        above, below, share = (part[first:last] for part in self._lines)
        values = self.source.rows(above[0], below[-1] + 1)
        values = _between(values, above - above[0], below - above[0], share, axis=0)
        return _between(values, *self._columns, axis=1)


def _neighbours(size: int, new_size: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Of each new pixel the old one before it, the one behind it, and the share of the latter."""
    position = (np.arange(new_size) + 0.5) * size / new_size - 0.5
    position = np.clip(position, 0, size - 1)
    before = np.floor(position).astype(int)
    return before, np.minimum(before + 1, size - 1), (position - before).astype(np.float32)


def _between(values, before, behind, share, axis: int) -> np.ndarray:
    share = share.reshape(-1, *[1] * (values.ndim - 1 - axis))
    return values.take(before, axis) * (1 - share) + values.take(behind, axis) * share
