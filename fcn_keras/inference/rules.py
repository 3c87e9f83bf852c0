"""What each kind of layer does to a part of a feature map, told where in the image the part lies.

A model sees an image with nothing, that is zeros, around every feature map. A part of the image
must meet the same zeros where the image ends, and real neighbours elsewhere. So a rule knows which
samples of its inputs lie in the whole image's map, and sets the others to zero before a window
reads them.

Positions are counted on the canvas: the image within the border of zeros that geometry "caffe"
adds, or the image itself. Parts begin at a pixel of the canvas that every stride divides.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from fractions import Fraction
from typing import NamedTuple

import keras
from keras import layers, ops

from fcn_keras.models.feature_map import after
from fcn_keras.models.geometry import Grid
from fcn_keras.models.layers import Crop

# Every float type has it.
FLOAT16_MAX = 65504.0


@dataclass(frozen=True)
class Place:
    """Where the samples of a part's map lie, whatever pixel of the canvas the part begins at.

    Attributes:
        grid: Their positions from that pixel on, and how far their inputs reach.
        shift: The part's first sample is number ``pixel / stride + shift`` of the image's map.
        lacks: The map has this many samples less than the part's size over the stride.
    """

    grid: Grid
    shift: int = 0
    lacks: int = 0

    @property
    def stride(self) -> int:
        return int(self.grid.stride)

    @property
    def away(self) -> Fraction:
        """How far samples lie from the middles of the pixels ``stride * i`` to the next ones."""
        return self.grid.start - (self.grid.stride - 1) / 2


class Part(NamedTuple):
    """A part of a feature map.

    Attributes:
        values: ``(B, h, w, C)``.
        place: Where its samples lie.
        start: Row and column of the canvas that the part begins at.
        size: Height and width of the whole image's map, as numbers or as ``(B,)`` each.
    """

    values: object
    place: Place
    start: tuple
    size: tuple

    def within(self, outside: float = 0.0):
        """The values, and `outside` where the image's map doesn't reach."""
        kept = []
        for start, size, length in zip(
            self.start, self.size, ops.shape(self.values)[1:3], strict=True
        ):
            first = start // self.place.stride + self.place.shift
            index = ops.arange(length, dtype="int32")[None] + _column(first)
            kept.append((index >= 0) & (index < _column(size)))
        mask = kept[0][:, :, None, None] & kept[1][:, None, :, None]
        return ops.where(mask, self.values, ops.cast(outside, self.values.dtype))


def _column(numbers):
    return ops.reshape(ops.cast(numbers, "int32"), (-1, 1))


class Rule:
    """What a layer does; this one treats each sample by itself."""

    reads = slice(None)  # the inputs whose values count; of the others only the size does

    def __init__(self, layer: keras.Layer):
        self.layer = layer

    def place(self, place: Place) -> Place:
        return place

    def size(self, size):
        """The height (or width) of the output's map, of the inputs' ones."""
        return size

    def run(self, part: Part):
        return self.layer(part.values, training=False)


class Window(Rule):
    """A convolution."""

    def __init__(self, layer: keras.Layer):
        super().__init__(layer)
        self.kernel, self.stride, padded = _window(layer)
        self.unpadded = 0 if padded else self.kernel - self.stride

    def place(self, place: Place) -> Place:
        lacks = -(-place.lacks // self.stride) + self.unpadded
        return Place(after(place.grid, self.layer), -(-place.shift // self.stride), lacks)

    def size(self, size):
        return -(-size // self.stride) - self.unpadded

    def run(self, part: Part):
        values = part.values if self.kernel == 1 else part.within()
        return self.layer(values, training=False)


class Pool(Window):
    """A pool that rounds up."""

    def run(self, part: Part):
        # Where a window hangs over the edge, what is outside is never the largest.
        return self.layer(part.within(-FLOAT16_MAX), training=False)


class Transposed(Window):
    """A transposed convolution."""

    def place(self, place: Place) -> Place:
        lacks = place.lacks * self.stride - self.unpadded
        return Place(after(place.grid, self.layer), place.shift * self.stride, lacks)

    def size(self, size):
        return size * self.stride + self.unpadded


class Border(Rule):
    """Zeros around the image: from the canvas, a part has its share of them already."""

    def place(self, place: Place) -> Place:
        return replace(place, shift=place.shift + border(self.layer))

    def size(self, size):
        return size + 2 * border(self.layer)

    def run(self, part: Part):
        return part.within()


class Cut(Rule):
    """A crop to another map's size. A part keeps its samples, which get other numbers."""

    reads = slice(1)

    def place(self, place: Place, reference: Place) -> Place:
        return replace(place, shift=place.shift - self.layer.offset)

    def size(self, size, reference):
        return reference

    def run(self, part: Part):
        return part.values


class Sum(Rule):
    """The sum of maps of one stride, where a part has the samples of all."""

    def place(self, *places: Place) -> Place:
        shift = max(place.shift for place in places)
        grid = places[0].grid
        return Place(
            Grid(
                grid.stride,
                grid.start + grid.stride * (shift - places[0].shift),
                max(place.grid.reach for place in places),
            ),
            shift,
            max(place.lacks + shift - place.shift for place in places),
        )

    def size(self, size, *others):
        return size

    def run(self, *parts: Part):
        shift = max(part.place.shift for part in parts)
        values = [part.values[:, (n := shift - part.place.shift) :, n:] for part in parts]
        height, width = (min(ops.shape(v)[axis] for v in values) for axis in (1, 2))
        return self.layer([v[:, :height, :width] for v in values])


def border(layer: keras.Layer) -> int:
    """The zeros that a layer adds on each side of the image."""
    return layer.padding[0][0] if isinstance(layer, layers.ZeroPadding2D) else 0


_POINTWISE = (
    layers.Activation, layers.BatchNormalization, layers.Dropout, layers.ReLU, layers.Rescaling,
)  # fmt: skip


def rule_of(layer: keras.Layer) -> Rule | None:
    """The rule of a layer; None where there is none."""
    if isinstance(layer, _POINTWISE):
        return Rule(layer)
    if isinstance(layer, Crop):
        return Cut(layer)
    if isinstance(layer, layers.Add):
        return Sum(layer)
    if isinstance(layer, layers.ZeroPadding2D):
        return Border(layer) if len({*layer.padding[0], *layer.padding[1]}) == 1 else None
    if isinstance(layer, layers.Conv2D | layers.Conv2DTranspose | layers.MaxPooling2D):
        return _windowed(layer)
    return None


def _windowed(layer: keras.Layer) -> Window | None:
    kernel, stride, padded = _window(layer)
    regular = kernel and stride and getattr(layer, "dilation_rate", (1, 1)) == (1, 1)
    if not regular or layer.data_format != "channels_last":
        return None
    if isinstance(layer, layers.Conv2DTranspose):
        # Others pad unevenly.
        even = kernel >= stride and (kernel - stride) % 2 == 0
        return Transposed(layer) if even and layer.output_padding is None else None
    if isinstance(layer, layers.MaxPooling2D):
        return Pool(layer) if kernel == stride and padded else None
    return Window(layer) if stride == 1 and kernel % 2 == 1 else None


def _window(layer: keras.Layer) -> tuple[int | None, int | None, bool]:
    """Kernel and stride, None where not square, and whether the layer pads to keep the size."""
    sides = getattr(layer, "kernel_size", None) or layer.pool_size
    kernel, stride = (pair[0] if pair[0] == pair[1] else None for pair in (sides, layer.strides))
    return kernel, stride, layer.padding == "same"
