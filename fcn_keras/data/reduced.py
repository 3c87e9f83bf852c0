"""Photos scaled down to the size that a model is for."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from PIL import Image

from fcn_keras.data.classes import ClassTable
from fcn_keras.data.source import Source


def reduced_size(height: int, width: int, max_side: int) -> tuple[int, int]:
    """Height and width with the longer side at most `max_side` pixels; 0 leaves them.

    >>> reduced_size(3000, 4000, 320)
    (240, 320)
    """
    if not max_side or max(height, width) <= max_side:
        return height, width
    scale = max_side / max(height, width)
    return max(1, round(scale * height)), max(1, round(scale * width))


def reduce_photo(image: np.ndarray, max_side: int) -> np.ndarray:
    """An image uint8 ``(H, W, 3)`` at its `reduced_size`, each pixel a mean of those it covers."""
    return _resize(image, max_side, Image.Resampling.BILINEAR)


@dataclass(frozen=True)
class Reduced:
    """The samples of a source with images and masks (nearest neighbour) at their `reduced_size`."""

    source: Source
    max_side: int

    @property
    def classes(self) -> ClassTable:
        """Those of the source."""
        return self.source.classes

    @property
    def ids(self) -> tuple[str, ...]:
        """The samples' names."""
        return self.source.ids

    def __len__(self) -> int:
        return len(self.source)

    def __getitem__(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        image, mask = self.source[index]
        mask = _resize(mask, self.max_side, Image.Resampling.NEAREST)
        return reduce_photo(image, self.max_side), mask


def _resize(array: np.ndarray, max_side: int, how: Image.Resampling) -> np.ndarray:
    height, width = reduced_size(array.shape[0], array.shape[1], max_side)
    if (height, width) == array.shape[:2]:
        return array
    return np.asarray(Image.fromarray(array).resize((width, height), how))
