"""Predictions for photos too large to run in one piece, a few rows at a time."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence

import keras
import numpy as np

from fcn_keras.cpu import allocator
from fcn_keras.errors import InputError
from fcn_keras.inference.rows import Array, Resized, Rows
from fcn_keras.inference.tiling import TILE_BYTES, Tiler

# Photos of more pixels, once padded, run in tiles: the first layers take about 1 kB per pixel.
MOST_PIXELS = 2**20
ROWS = 64


class LargePhotos:
    """Runs a model on photos of more than `MOST_PIXELS`, tile by tile and with the same result.

    Args:
        model: The model; its weights are read at each run.
        bucket: Smaller photos are padded to multiples of this.
        flip: Average the predictions of the photo and of its mirror image.
        scales: Average the predictions over these scales of the photo.
        tile_bytes: Memory for a tile.
    """

    def __init__(
        self,
        model: keras.Model,
        *,
        bucket: int,
        flip: bool = False,
        scales: Sequence[float] = (1.0,),
        tile_bytes: int = TILE_BYTES,
    ):
        self.model = model
        self.bucket = bucket
        self.flip = flip
        self.scales = tuple(scales)
        self.tile_bytes = tile_bytes
        self._tiler: Tiler | None = None
        self._lock = threading.Lock()

    def take(self, height: int, width: int) -> bool:
        """Whether a photo of this size runs in tiles."""
        height, width = (side + -side % self.bucket for side in (height, width))
        return height * width * max(self.scales) ** 2 > MOST_PIXELS

    def compiles(self) -> int:
        """How many shapes have been compiled so far (JAX only)."""
        return self._tiler.compiles() if self._tiler else 0

    def bands(
        self, image: np.ndarray, size: tuple[int, int] | None = None
    ) -> Iterator[tuple[slice, np.ndarray]]:
        """Yields slices of the rows of an image ``(H, W, 3)``, and their logits.

        Logits are float32 ``(rows, W, C)``; with `flip` or `scales`, the logarithms of the mean
        probabilities. A `size`, height and width, enlarges them to it.

        Raises:
            InputError: the model has layers that can't be run on parts, or there is too little
                memory even for a tile.
        """
        try:
            yield from in_bands(self._rows(image), size)
        except MemoryError as error:
            raise InputError(
                f"a photo of {image.shape[1]}x{len(image)} pixels needs "
                f"{self.tile_bytes >> 20} MB for a tile and more for its rows, which this process "
                "can't get: make the photo smaller, or free memory"
            ) from error

    def _rows(self, image: np.ndarray) -> Rows:
        with self._lock:
            self._tiler = tiler = self._tiler or Tiler(self.model, self.tile_bytes)
        allocator.trim()  # what reading the model, photos and smaller runs left
        # XLA on a CPU ends the process if it can't get memory, so ask first.
        allocator.zeros((self.tile_bytes,), np.uint8)
        if not self.flip and self.scales == (1.0,):
            return tiler.logits(Array(image))
        return _Mean([_view(tiler, image, *view) for view in self._views()])

    def _views(self) -> list[tuple[float, bool]]:
        mirrors = (False, True) if self.flip else (False,)
        return [(scale, mirror) for scale in self.scales for mirror in mirrors]


def _view(tiler: Tiler, image: np.ndarray, scale: float, mirror: bool) -> Rows:
    height, width = image.shape[:2]
    scaled = max(1, round(scale * height)), max(1, round(scale * width))
    logits = tiler.logits(Resized(Array(image), scaled, mirror))
    return Resized(_Softmax(logits), (height, width), mirror)


class _Softmax:
    def __init__(self, logits: Rows):
        self.logits = logits
        self.size = logits.size

    def rows(self, first: int, last: int) -> np.ndarray:
        """See `Rows.rows`."""
        return softmax(self.logits.rows(first, last))


class _Mean:
    """The logarithm of the views' mean probabilities, as in `fcn_keras.inference.tta.averaged`."""

    def __init__(self, views: Sequence[Rows]):
        self.views = views
        self.size = views[0].size

    def rows(self, first: int, last: int) -> np.ndarray:
        """See `Rows.rows`."""
        total = sum(view.rows(first, last) for view in self.views)
        return np.log(np.maximum(total / len(self.views), 1e-30))


def in_bands(rows: Rows, size: tuple[int, int] | None = None) -> Iterator[tuple[slice, np.ndarray]]:
    """Yields slices of the rows of a map and their values, at another `size` if one is given."""
    if size not in (None, rows.size):
        rows = Resized(rows, size, mirror=False)
    for first in range(0, rows.size[0], ROWS):
        last = min(first + ROWS, rows.size[0])
        yield slice(first, last), rows.rows(first, last)


def softmax(logits: np.ndarray) -> np.ndarray:
    """Probabilities ``(..., C)``."""
    powers = np.exp(logits - logits.max(axis=-1, keepdims=True))
    return powers / powers.sum(axis=-1, keepdims=True)
