"""Photos too large to run in one piece: exact logits, a band of rows at a time.

A sample of a feature map depends on a limited area, so a part of a photo with enough margin gives
exactly the numbers of the whole (`fcn_keras.inference.graph`). For all of FCN-8s that would take
256 pixels on each side, most of what fits into memory. But three quarters of the margin are due to
the deep layers, whose maps are small, and the memory is due to the first ones. So the model runs in
stages, each with its own margin: 24 pixels up to pool3, where parts have to be small, and up to 192
beyond, where they can be large. A stage computes its tiles in bands from top to bottom, as far as
the next stage asks, and keeps the rows that are still needed.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import keras
import numpy as np
from keras import ops

from fcn_keras.cpu import allocator
from fcn_keras.errors import InputError
from fcn_keras.inference.compiled import bind
from fcn_keras.inference.graph import Graph, Stage
from fcn_keras.inference.rows import Rows

# Memory for a tile's layers.
TILE_BYTES = 320 * 2**20
# What they take under JAX on a CPU, as measured: this multiple of what the largest step reads and
# writes, plus so many bytes per pixel, which count where steps are small.
STEP_SHARE, BYTES_PER_PIXEL = 1.75, 64
# Memory for a stage's inputs and outputs that are kept, in rows as wide as the photo.
BAND_BYTES = 80 * 2**20
# The sides of tiles are multiples of this many pixels, so that photos share compiled shapes.
QUANTUM = 64


@dataclass(frozen=True, order=True)
class Axis:
    """Tiles along one axis: `count` of `side` pixels, each `step` pixels after the one before."""

    side: int
    step: int
    count: int

    @classmethod
    def of(cls, length: int, count: int, margin: int, multiple: int) -> Axis:
        """`count` tiles that cover `length`, overlapping by their margins."""
        if count == 1:
            side = _up(length, multiple)
            return cls(side, side, 1)
        side = _up(-(-(length - 2 * margin) // count) + 2 * margin, multiple)
        return cls(side, side - 2 * margin, count)


class Tiler:
    """Runs a model on photos of any size in a bounded amount of memory.

    Args:
        model: The model; its weights are read at each run.
        tile_bytes: Memory for a tile.

    Raises:
        InputError: the model has layers that can't be run on parts.
    """

    def __init__(self, model: keras.Model, tile_bytes: int = TILE_BYTES):
        graph = Graph.of(model)
        if graph is None:
            raise InputError(f"model {model.name} has layers that can't be run on parts of a photo")
        self.graph = graph
        self.tile_bytes = tile_bytes
        self.stages = [
            (stage, bind(model, functools.partial(graph.run, stage), str(stage)))
            for stage in graph.stages()
        ]

    def compiles(self) -> int:
        """How many shapes have been compiled so far (JAX only)."""
        return sum(run.compiles() for _, run in self.stages)

    def logits(self, image: Rows) -> Rows:
        """The scores ``(H, W, C)`` of an image ``(H, W, 3)``."""
        sizes = list(zip(*map(self.graph.sizes, image.size), strict=True))
        source: _Photo | _Bands = _Photo(image)
        for stage, run in self.stages:
            source = _Bands(self.graph, stage, run, source, sizes, self.tile_bytes)
        assert isinstance(source, _Bands)
        return source


class _Photo:
    """Map 0 of a graph."""

    def __init__(self, image: Rows):
        self.image = image

    def part(self, number: int, first: int, last: int) -> np.ndarray:
        """Rows of the photo, zero beyond it."""
        start, stop = max(0, first), min(last, self.image.size[0])
        return _lines([(start, self.image.rows(start, stop))], first, last, axis=0)


class _Bands:
    """The outputs of a stage, computed from top to bottom."""

    def __init__(
        self,
        graph: Graph,
        stage: Stage,
        run: Callable,
        source: _Photo | _Bands,
        sizes: Sequence[tuple[int, int]],
        tile_bytes: int,
    ):
        self.graph, self.stage, self.run, self.source = graph, stage, run, source
        self.steps = graph.steps
        self.sizes = sizes
        self.size = sizes[-1]
        self.down, self.across = self._tiles(tile_bytes)
        self._done = 0
        self._kept: dict[int, list[tuple[int, np.ndarray]]] = {i: [] for i in stage.outputs}

    def rows(self, first: int, last: int) -> np.ndarray:
        """See `Rows.rows`."""
        return self.part(len(self.steps) - 1, first, last)

    def part(self, number: int, first: int, last: int) -> np.ndarray:
        """Rows of map `number`, zero beyond it."""
        kept, height = self._kept[number], self.sizes[number][0]
        while not kept or kept[-1][0] + len(kept[-1][1]) < min(last, height):
            self._compute()
        kept[:] = [(start, rows) for start, rows in kept if start + len(rows) > first]
        return _lines(kept, first, last, axis=0)

    def _compute(self) -> None:
        """Computes the next band of each output."""
        number = self._done
        strips = [self.source.part(i, *self._read(i, 0, number)) for i in self.stage.inputs]
        bands: dict[int, np.ndarray] = {}
        for column in range(self.across.count):
            tiles = [
                _lines([(0, strip)], *self._read(i, 1, column), axis=1)[None]
                for i, strip in zip(self.stage.inputs, strips, strict=True)
            ]
            starts = self.graph.starts(
                np.array([number * self.down.step, column * self.across.step])
            )
            outputs = self.run(tiles, np.array(starts, np.int32), np.array(self.sizes, np.int32))
            for i, output in zip(self.stage.outputs, outputs, strict=True):
                self._insert(bands, i, column, ops.convert_to_numpy(output)[0])
        for i, band in bands.items():
            self._kept[i].append((self._given(i, 0, number)[0], band))
        self._done += 1
        allocator.trim()  # the next stage's blocks have other sizes

    def _insert(self, bands: dict, i: int, column: int, tile: np.ndarray) -> None:
        (top, bottom), (left, right) = self._given(i, 0, self._done), self._given(i, 1, column)
        if i not in bands:
            shape = (max(0, bottom - top), self.sizes[i][1], tile.shape[2])
            bands[i] = allocator.zeros(shape, tile.dtype)
        row, x = self._read(i, 0, self._done)[0], self._read(i, 1, column)[0]
        if top < bottom and left < right:
            bands[i][:, left:right] = tile[top - row : bottom - row, left - x : right - x]

    def _read(self, i: int, axis: int, number: int) -> tuple[int, int]:
        """The samples of map `i` in a tile: the first, and the one after the last."""
        tiles, place = (self.down, self.across)[axis], self.steps[i].place
        first = number * tiles.step // place.stride + place.shift
        return first, first + tiles.side // place.stride

    def _given(self, i: int, axis: int, number: int) -> tuple[int, int]:
        """The samples of output `i` that a tile provides: all but its margins to neighbours."""
        tiles = (self.down, self.across)[axis]
        margin = self.stage.margin // self.steps[i].place.stride
        first, last = self._read(i, axis, number)
        size = self.sizes[i][axis]
        first = first + margin if number > 0 else 0
        last = last - margin if number < tiles.count - 1 else size
        return min(first, size), max(0, min(last, size))

    def _tiles(self, tile_bytes: int) -> tuple[Axis, Axis]:
        """The tiles down and across with the fewest pixels in total that fit into memory."""
        multiple, margin = math.lcm(QUANTUM, self.stage.stride), self.stage.margin
        height, width = (max(self._extent(i, axis) for i in self.stage.outputs) for axis in (0, 1))
        pixels = tile_bytes / (STEP_SHARE * self.stage.bytes_per_pixel + BYTES_PER_PIXEL)
        kept = sum(self.steps[i].bytes_per_pixel for i in (*self.stage.inputs, *self.stage.outputs))
        found = []
        for columns in range(1, max(2, width // multiple)):
            across = Axis.of(width, columns, margin, multiple)
            tallest = min(pixels / across.side, BAND_BYTES / (kept * width))
            tallest = max(int(tallest) // multiple * multiple, _up(2 * margin + 1, multiple))
            rows = -(-(height - 2 * margin) // (tallest - 2 * margin)) if tallest < height else 1
            down = Axis.of(height, rows, margin, multiple)
            fits = down.side * across.side <= pixels
            area = down.side * down.count * across.side * across.count
            found.append((not fits, area if fits else down.side * across.side, down, across))
        _, _, down, across = min(found)
        return down, across

    def _extent(self, i: int, axis: int) -> int:
        """Pixels of the canvas from which all samples of map `i` can be computed."""
        place = self.steps[i].place
        return place.stride * (self.sizes[i][axis] - place.shift + place.lacks)


def _lines(
    pieces: Sequence[tuple[int, np.ndarray]], first: int, last: int, axis: int
) -> np.ndarray:
    """The lines from `first` up to `last` of a map, zero where no piece has them.

    Args:
        pieces: The number of each piece's first line, and its lines.
        first: The first line wanted.
        last: The line after the last one wanted.
        axis: 0 for rows, 1 for columns.
    """
    shape = list(pieces[0][1].shape)
    shape[axis] = last - first
    lines = allocator.zeros(tuple(shape), pieces[0][1].dtype)
    for start, values in pieces:
        begin, end = max(start, first), min(start + values.shape[axis], last)
        if begin < end:
            before = (slice(None),) * axis
            lines[(*before, slice(begin - first, end - first))] = values[
                (*before, slice(begin - start, end - start))
            ]
    return lines


def _up(number: int, multiple: int) -> int:
    return -(-number // multiple) * multiple
