"""Maps of a photo that are computed from top to bottom, a few rows at a time."""

from __future__ import annotations

from typing import Protocol

import numpy as np


class Rows(Protocol):
    """A map that gives its rows; `size` is its height and width."""

    size: tuple[int, int]

    def rows(self, first: int, last: int) -> np.ndarray:
        """The rows from `first` up to `last`, ``(last - first, W, C)``.

        `first` never decreases from call to call: rows above the latest may be gone.
        """
        ...


class Array:
    """A map in memory."""

    def __init__(self, values: np.ndarray):
        self.values = values
        self.size: tuple[int, int] = (values.shape[0], values.shape[1])

    def rows(self, first: int, last: int) -> np.ndarray:
        """See `Rows.rows`."""
        return self.values[first:last]


class Resized:
    """A map at another size, optionally mirrored, as `fcn_keras.inference.tta` resizes."""

    def __init__(self, source: Rows, size: tuple[int, int], mirror: bool):
        self.source = source
        self.size = size
        (height, width), (new_height, new_width) = source.size, size
        self._lines = _neighbours(height, new_height)
        left, right, share = _neighbours(width, new_width)
        order = slice(None, None, -1 if mirror else 1)
        self._columns = left[order], right[order], share[order]

    def rows(self, first: int, last: int) -> np.ndarray:
        """See `Rows.rows`."""
        above, below, share = (part[first:last] for part in self._lines)
        values = self.source.rows(above[0], below[-1] + 1)
        values = _between(values, above - above[0], below - above[0], share, axis=0)
        return _between(values, *self._columns, axis=1)


def _neighbours(size: int, new_size: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """For each new pixel: the old one before it, the one after, and the latter's share."""
    position = (np.arange(new_size) + 0.5) * size / new_size - 0.5
    position = np.clip(position, 0, size - 1)
    before = np.floor(position).astype(int)
    return before, np.minimum(before + 1, size - 1), (position - before).astype(np.float32)


def _between(
    values: np.ndarray, before: np.ndarray, after: np.ndarray, share: np.ndarray, axis: int
) -> np.ndarray:
    share = share.reshape(-1, *[1] * (values.ndim - 1 - axis))
    return values.take(before, axis) * (1 - share) + values.take(after, axis) * share
