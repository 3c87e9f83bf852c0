"""A feature map that knows where its samples lie in the image."""

from __future__ import annotations

from dataclasses import dataclass

import keras
from keras import KerasTensor, layers

from fcn_keras.models.geometry import Grid
from fcn_keras.models.layers import Crop


@dataclass(frozen=True)
class FeatureMap:
    """A symbolic tensor ``(B, H, W, C)`` and the grid of its samples."""

    tensor: KerasTensor
    grid: Grid

    def through(self, layer: keras.Layer) -> FeatureMap:
        """The map after `layer`."""
        return FeatureMap(layer(self.tensor), after(self.grid, layer))

    def crop_to(self, other: FeatureMap, name: str) -> FeatureMap:
        """The part of this map that lies on the samples of `other`.

        Raises:
            InputError: no whole number of samples aligns the two.
        """
        layer = Crop(self.grid.offset_to(other.grid), dtype="float32", name=name)
        return FeatureMap(layer(self.tensor, other.tensor), other.grid)

    def add(self, other: FeatureMap, name: str) -> FeatureMap:
        """The sum with a map of the same grid."""
        total = layers.Add(dtype="float32", name=name)([self.tensor, other.tensor])
        return FeatureMap(total, self.grid)


def after(grid: Grid, layer: keras.Layer) -> Grid:
    """The grid after a layer; one that works pixel by pixel moves nothing.

    >>> after(Grid(), layers.MaxPooling2D(2, padding="same")) == Grid().window(2, stride=2)
    True
    >>> after(Grid(), layers.Conv2DTranspose(1, 16, strides=8, padding="same"))
    Grid(stride=Fraction(1, 8), start=Fraction(-7, 16))
    """
    if isinstance(layer, layers.ZeroPadding2D):
        return grid.window(1, padding=layer.padding[0][0])
    window = getattr(layer, "kernel_size", None) or getattr(layer, "pool_size", None)
    if window is None:
        return grid
    kernel, stride = window[0], layer.strides[0]
    # "same" pads by k - s in all (a map that isn't a multiple of s by more, at the far end).
    padding = max(kernel - stride, 0) // 2 if layer.padding == "same" else 0
    move = grid.transposed if isinstance(layer, layers.Conv2DTranspose) else grid.window
    return move(kernel, stride, padding)
