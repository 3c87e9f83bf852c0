"""3x3 convolutions in bfloat16 with less than half of the multiplications (JAX only).

Winograd's F(2x2, 3x3): tiles of 2x2 outputs from 4x4 inputs, otherwise as in `winograd`. Its
transforms only add and halve, so that rounding what is multiplied to bfloat16 costs the result
0.5 % of its standard deviation, where the direct sum has 0.3 % and F(4x4, 3x3) would have 1.2 %.
"""

from __future__ import annotations

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np

from fcn_keras.cpu.im2col import bits, floats
from fcn_keras.cpu.onednn import product
from fcn_keras.cpu.winograd import combine

INPUTS = np.array([[1, 0, -1, 0], [0, 1, 1, 0], [0, -1, 1, 0], [0, 1, 0, -1]], np.float32)
KERNELS = np.array([[2, 0, 0], [1, 1, 1], [1, -1, 1], [0, 0, 2]], np.float32) / 2
PRODUCTS = np.array([[1, 1, 1, 0], [0, 1, -1, -1]], np.float32)
# Both axes of a kernel at once, (4 down x 4 across, 9): one small matrix product.
BOTH_KERNELS = np.einsum("ai,bj->abij", KERNELS, KERNELS).reshape(16, 9)
# A map with more values in tiles and products than these 128 MB is computed in bands, which takes a
# fifth longer; but never in more than so many, since each is compiled.
_VALUES, _BANDS = 2**26, 4


def transform(kernel: jax.Array) -> list[jax.Array]:
    """``(3, 3, C, F)`` to 16 of ``(C, F)``, bfloat16."""
    return _both(KERNELS, [list(row) for row in kernel])


def convolve(
    x: jax.Array,
    kernels: list[jax.Array],
    finish: Callable[[jax.Array], jax.Array] = lambda y: y,
    *,
    turned: bool = False,
) -> jax.Array:
    """Cross-correlation with zeros around: ``(B, H, W, C) -> (B, H, W, F)``, bfloat16.

    Args:
        x: The map, bfloat16.
        kernels: What `transform` makes of the kernel.
        finish: Applied to the float32 sums, ``(..., F)``, before they are rounded.
        turned: Whether the kernel leads from its filters to its channels. It must have been rotated
            by 180 degrees.
    """
    batch, height, width, channels = x.shape
    filters = kernels[0].shape[0 if turned else 1]
    down, across = -(-height // 2), -(-width // 2)
    values = 16 * batch * down * across * (channels + 2 * filters)
    bands = min(-(-values // _VALUES), _BANDS, down)
    rows = -(-down // bands)
    x = _padded(x, bands * rows, across)

    def band(index: int) -> jax.Array:
        inputs = x[:, 2 * rows * index :][:, : 2 * rows + 2]
        tiles = [tile.reshape(-1, channels) for tile in _both(INPUTS, _split(inputs, 4))]
        transposed = "b" if turned else ""
        products = [product(t, k, transposed) for t, k in zip(tiles, kernels, strict=True)]
        products = [p.reshape(batch, rows, across, filters) for p in products]
        grid = [products[i : i + 4] for i in range(0, 16, 4)]
        outputs = [bits(y) for y in _both(PRODUCTS, grid, finish)]
        # (batch, rows, down, across, right, filters)
        pairs = jnp.stack([jnp.stack(outputs[:2], 3), jnp.stack(outputs[2:], 3)], 2)
        return pairs.reshape(batch, 2 * rows, 2 * across, filters)

    y = jnp.concatenate([band(index) for index in range(bands)], axis=1)
    return floats(y[:, :height, :width])


def kernel_gradient(x: jax.Array, gradient: jax.Array) -> jax.Array:
    """``(B, H, W, C), (B, H, W, F) -> (3, 3, C, F)``, float32: the transposed transforms."""
    height, width, filters = gradient.shape[1:]
    down, across, channels = -(-height // 2), -(-width // 2), x.shape[3]
    margins = [(0, 0), (0, height % 2), (0, width % 2), (0, 0)]
    gradient = floats(jnp.pad(bits(gradient), margins))
    tiles = _both(INPUTS, _split(_padded(x, down, across), 4))
    gradients = _both(PRODUCTS.T, _split(gradient, 2))
    products = [
        product(tile.reshape(-1, channels), part.reshape(-1, filters), transposed="a")
        for tile, part in zip(tiles, gradients, strict=True)
    ]
    kernel = jnp.tensordot(BOTH_KERNELS.T, jnp.stack(products), 1)
    return kernel.reshape(3, 3, channels, filters)


def _padded(x: jax.Array, down: int, across: int) -> jax.Array:
    """One row of zeros in front, and behind as many as complete the last tile and its margin."""
    height, width = x.shape[1:3]
    margins = [(0, 0), (1, 2 * down - height + 1), (1, 2 * across - width + 1), (0, 0)]
    return floats(jnp.pad(bits(x), margins))


def _split(x: jax.Array, size: int) -> list[list[jax.Array]]:
    """Element (i, j) of all tiles, which start at every second row and column."""
    down, across = ((extent - size) // 2 + 1 for extent in x.shape[1:3])

    def element(i: int, j: int) -> jax.Array:
        return x[:, i : i + 2 * down - 1 : 2, j : j + 2 * across - 1 : 2]

    return [[element(i, j) for j in range(size)] for i in range(size)]


def _both(
    matrix: np.ndarray,
    parts: list[list[jax.Array]],
    finish: Callable[[jax.Array], jax.Array] = lambda y: y,
) -> list[jax.Array]:
    """``matrix @ parts @ matrix.T`` row by row, summed in float32 and rounded to bfloat16 once."""
    columns = [
        combine(matrix, [part.astype(jnp.float32) for part in column])
        for column in zip(*parts, strict=True)
    ]
    rows = zip(*columns, strict=True)
    return [finish(y).astype(jnp.bfloat16) for row in rows for y in combine(matrix, list(row))]
