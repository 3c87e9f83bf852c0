"""How many photos there are and how large, from which an own-data recipe follows."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from fcn_keras.data.images import read_size
from fcn_keras.data.reduced import reduced_size
from fcn_keras.data.source import FileSource
from fcn_keras.errors import InputError

_MEASURED = 100
_STRIDE = 32


@dataclass(frozen=True)
class Photos:
    """The photos of a training split: their number, and the median of heights and of widths."""

    count: int
    height: int
    width: int

    def reduced(self, max_side: int) -> Photos:
        """The photos after those with a longer side than `max_side` were scaled down to it."""
        return Photos(self.count, *reduced_size(self.height, self.width, max_side))

    def crop_size(self, largest: int) -> int:
        """A training crop that most photos fill: a multiple of 32, at most `largest` pixels."""
        side = min(self.height, self.width, largest)
        return max(side // _STRIDE, 1) * _STRIDE


def survey(source: FileSource) -> Photos:
    """Measures the photos of a split, at most 100 of them, spread over it, by their headers.

    Raises:
        InputError: none of them can be read.
    """
    chosen = np.linspace(0, len(source) - 1, min(_MEASURED, len(source))).astype(int)
    sizes = []
    for index in chosen:
        try:
            sizes.append(read_size(source.images[index]))
        except InputError:
            continue  # training or `check` raises the error
    if not sizes:
        raise InputError(f"none of the photos can be read, such as {source.images[0]}; replace it")
    height, width = np.median(sizes, axis=0).astype(int).tolist()
    return Photos(len(source), height, width)
