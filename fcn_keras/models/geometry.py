"""Where the samples of a feature map lie in the input image, followed layer by layer.

Sample ``i`` of a map sits at input pixel ``stride * i + start`` (pixel centres, one axis; both axes
are alike). A convolution or a pool centres each output on the middle of its window, a transposed
convolution does the reverse, and cropping moves the start. Two maps fit together when their grids
are equal, so every crop offset of the FCN paper's models follows from the layers in front of it.

The original's offsets (its released prototxt files list 19; 5, 27; 5, 9, 31):

>>> image = grid = Grid()
>>> grid = grid.window(3, padding=100)  # the other convolutions have 3x3 and 1, which move nothing
>>> pool1, pool2, pool3, pool4, pool5 = [grid := grid.window(2, stride=2) for _ in range(5)]
>>> fc7 = pool5.window(7)
>>> fc7.transposed(64, 32).offset_to(image)
19
>>> x2 = fc7.transposed(4, 2)
>>> pool4.offset_to(x2), x2.transposed(32, 16).offset_to(image)
(5, 27)
>>> x4 = x2.transposed(4, 2)
>>> pool3.offset_to(x4), x4.transposed(16, 8).offset_to(image)
(9, 31)
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction

from fcn_keras.errors import InputError


@dataclass(frozen=True)
class Grid:
    """Sample ``i`` lies at input pixel ``stride * i + start``; the default is the image itself."""

    stride: Fraction = Fraction(1)
    start: Fraction = Fraction(0)

    def window(self, kernel: int, stride: int = 1, padding: int = 0) -> Grid:
        """The grid after a convolution or pool: output ``i`` is centred on its window."""
        centre = Fraction(kernel - 1, 2) - padding
        return Grid(self.stride * stride, self.start + self.stride * centre)

    def transposed(self, kernel: int, stride: int, padding: int = 0) -> Grid:
        """The grid after a transposed convolution, whose windows lie in the output."""
        centre = Fraction(kernel - 1, 2) - padding
        return Grid(self.stride / stride, self.start - self.stride / stride * centre)

    def offset_to(self, other: Grid) -> int:
        """How many samples to cut from the front of this map so that it starts where `other` does.

        Raises:
            InputError: the strides differ, or no whole number of samples aligns the two.
        """
        offset = (other.start - self.start) / self.stride
        if self.stride != other.stride or offset.denominator != 1:
            raise InputError(f"{self} can't be aligned with {other} by cropping whole samples")
        return int(offset)
