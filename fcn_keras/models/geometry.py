"""Where the samples of a feature map lie in the input image, followed layer by layer.

Sample ``i`` of a map sits at input pixel ``stride * i + start`` (pixel centres, one axis; both axes
are alike). A convolution or a pool centres each output on the middle of its window, a transposed
convolution does the reverse, and cropping moves the start. Two maps fit together when their grids
are equal, so every crop offset of the FCN paper's models follows from the layers in front of it.
So does the reach: a sample at position ``x`` depends on the pixels from ``x - reach`` to
``x + reach``, since every window reaches as far to either side of its centre.

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

Half the receptive fields of VGG16's pool5 (212 pixels), of fc6 (404) and of FCN-8s:

>>> pool5 = Grid()
>>> for convolutions in (2, 2, 3, 3, 3):
...     for _ in range(convolutions):
...         pool5 = pool5.window(3, padding=1)
...     pool5 = pool5.window(2, stride=2)
>>> fc6 = pool5.window(7, padding=3)
>>> x4 = fc6.transposed(4, 2, padding=1).transposed(4, 2, padding=1)
>>> [float(grid.reach) for grid in (pool5, fc6, x4.transposed(16, 8, padding=4))]
[105.5, 201.5, 245.0]
"""

from __future__ import annotations

from dataclasses import dataclass, field
from fractions import Fraction

from fcn_keras.errors import InputError


@dataclass(frozen=True)
class Grid:
    """Sample ``i`` lies at input pixel ``stride * i + start`` and depends on those within `reach`.

    The default is the image itself. Grids are equal where their samples lie alike.
    """

    stride: Fraction = Fraction(1)
    start: Fraction = Fraction(0)
    reach: Fraction = field(default=Fraction(0), compare=False, repr=False)

    def window(self, kernel: int, stride: int = 1, padding: int = 0) -> Grid:
        """The grid after a convolution or pool: output ``i`` is centred on its window."""
        half = Fraction(kernel - 1, 2)
        return Grid(
            self.stride * stride,
            self.start + self.stride * (half - padding),
            self.reach + self.stride * half,
        )

    def transposed(self, kernel: int, stride: int, padding: int = 0) -> Grid:
        """The grid after a transposed convolution, whose windows lie in the output."""
        half, sample = Fraction(kernel - 1, 2), self.stride / stride
        return Grid(sample, self.start - sample * (half - padding), self.reach + sample * half)

    def offset_to(self, other: Grid) -> int:
        """How many samples to cut from the front of this map so that it starts where `other` does.

        Raises:
            InputError: the strides differ, or no whole number of samples aligns the two.
        """
        offset = (other.start - self.start) / self.stride
        if self.stride != other.stride or offset.denominator != 1:
            raise InputError(f"{self} can't be aligned with {other} by cropping whole samples")
        return int(offset)
