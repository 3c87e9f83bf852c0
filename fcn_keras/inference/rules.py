"""What each kind of layer does to a part of a feature map, given where in the image the part lies.

A model sees every feature map surrounded by zeros. A part of the image must meet the same zeros
where the image ends, and real neighbours elsewhere. So a rule knows which samples of its inputs lie
in the whole image's map, and sets the others to zero before a window reads them.

Positions are counted on the canvas: the image within the border of zeros that geometry "caffe"
adds, or the image itself. Parts begin at a pixel of the canvas that every stride divides.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from fractions import Fraction
from typing import Any, NamedTuple

import keras
from keras import layers, ops

from fcn_keras.models.feature_map import after
from fcn_keras.models.geometry import Grid
from fcn_keras.models.layers import Crop

# The lowest value of float16, which every float type can represent.
LOWEST = -65504.0


@dataclass(frozen=True)
class Place:
    """Where the samples of a part's map lie, relative to the canvas pixel the part begins at.

    Attributes:
        grid: Their positions from that pixel on, and how far their inputs reach.
        shift: The part's first sample is number ``pixel / stride + shift`` of the image's map.
        lacks: The map has this many samples fewer than the part's size over the stride.
    """

    grid: Grid
    shift: int = 0
    lacks: int = 0

    @property
    def stride(self) -> int:
        """Pixels from one sample to the next."""
        return int(self.grid.stride)

    @property
    def away(self) -> Fraction:
        """How far sample i lies from the middle of the pixels ``stride * i`` up to the next's."""
        return self.grid.start - (self.grid.stride - 1) / 2


class Part(NamedTuple):
    """A part of a feature map.

    Attributes:
        values: ``(B, h, w, C)``.
        place: Where its samples lie.
        start: Row and column of the part's first sample in the whole image's map.
        size: Height and width of the whole image's map, as numbers or as ``(B,)`` each.
    """

    values: Any
    place: Place
    start: tuple
    size: tuple

    def within(self, outside: float = 0.0) -> Any:
        """The values, with `outside` in place of those beyond the image's map."""
        kept = []
        for first, size, length in zip(
            self.start, self.size, ops.shape(self.values)[1:3], strict=True
        ):
            index = ops.arange(length, dtype="int32")[None] + first
            size = ops.reshape(ops.cast(size, "int32"), (-1, 1))
            kept.append((index >= 0) & (index < size))
        mask = kept[0][:, :, None, None] & kept[1][:, None, :, None]
        return ops.where(mask, self.values, ops.cast(outside, self.values.dtype))


class LayerRule:
    """What a layer does; this one treats each sample by itself."""

    reads = slice(None)  # the inputs whose values are needed; of the others only the size is

    def __init__(self, layer: keras.Layer):
        self.layer = layer

    def place(self, place: Place, *others: Place) -> Place:
        """Where the output's samples lie, given the places of all inputs."""
        return place

    def size(self, size: Any, *others: Any) -> Any:
        """The height (or width) of the output's map, given those of all inputs."""
        return size

    def run(self, part: Part, *others: Part) -> Any:
        """The output's values ``(B, h, w, C)``, given the parts of the inputs it reads."""
        return self.layer(part.values, training=False)


class Window(LayerRule):
    """A convolution."""

    def __init__(self, layer: keras.Layer, kernel: int, stride: int):
        super().__init__(layer)
        self.kernel, self.stride = kernel, stride
        self.unpadded = 0 if layer.padding == "same" else kernel - stride

    def place(self, place: Place, *others: Place) -> Place:
        lacks = -(-place.lacks // self.stride) + self.unpadded
        return Place(after(place.grid, self.layer), -(-place.shift // self.stride), lacks)

    def size(self, size: Any, *others: Any) -> Any:
        return -(-size // self.stride) - self.unpadded

    def run(self, part: Part, *others: Part) -> Any:
        values = part.values if self.kernel == 1 else part.within()
        return self.layer(values, training=False)


class Pool(Window):
    """A pool that rounds up."""

    def run(self, part: Part, *others: Part) -> Any:
        # Where a window hangs over the edge, values outside are never the largest.
        return self.layer(part.within(LOWEST), training=False)


class Transposed(Window):
    """A transposed convolution."""

    def place(self, place: Place, *others: Place) -> Place:
        lacks = place.lacks * self.stride - self.unpadded
        return Place(after(place.grid, self.layer), place.shift * self.stride, lacks)

    def size(self, size: Any, *others: Any) -> Any:
        return size * self.stride + self.unpadded


class Border(LayerRule):
    """Zeros around the image. A part comes from the canvas, so it has its share of them already."""

    def place(self, place: Place, *others: Place) -> Place:
        return replace(place, shift=place.shift + border(self.layer))

    def size(self, size: Any, *others: Any) -> Any:
        return size + 2 * border(self.layer)

    def run(self, part: Part, *others: Part) -> Any:
        return part.within()


class Cut(LayerRule):
    """A crop to another map's size. A part keeps its samples; only their numbers change."""

    reads = slice(1)

    def place(self, place: Place, *others: Place) -> Place:
        return replace(place, shift=place.shift - self.layer.offset)

    def size(self, size: Any, *others: Any) -> Any:
        return others[0]

    def run(self, part: Part, *others: Part) -> Any:
        return part.values


class Sum(LayerRule):
    """The sum of maps of one stride, over the samples that a part has of all of them."""

    def place(self, place: Place, *others: Place) -> Place:
        places = (place, *others)
        shift = max(each.shift for each in places)
        return Place(
            Grid(
                place.grid.stride,
                place.grid.start + place.grid.stride * (shift - place.shift),
                max(each.grid.reach for each in places),
            ),
            shift,
            max(each.lacks + shift - each.shift for each in places),
        )

    def run(self, part: Part, *others: Part) -> Any:
        parts = (part, *others)
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


def rule_of(layer: keras.Layer) -> LayerRule | None:
    """The rule for a layer, or None if there is none."""
    if isinstance(layer, _POINTWISE):
        return LayerRule(layer)
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
    (kernel, width), (stride, across) = _kernel(layer), layer.strides
    square = (kernel, stride) == (width, across)
    dilated = getattr(layer, "dilation_rate", (1, 1)) != (1, 1)
    if not square or dilated or layer.data_format != "channels_last":
        return None
    if isinstance(layer, layers.Conv2DTranspose):
        # Others pad unevenly.
        even = kernel >= stride and (kernel - stride) % 2 == 0 and layer.output_padding is None
        return Transposed(layer, kernel, stride) if even else None
    if isinstance(layer, layers.MaxPooling2D):
        regular = kernel == stride and layer.padding == "same"
        return Pool(layer, kernel, stride) if regular else None
    return Window(layer, kernel, stride) if stride == 1 and kernel % 2 == 1 else None


def _kernel(layer: keras.Layer) -> tuple[int, int]:
    return getattr(layer, "kernel_size", None) or layer.pool_size
