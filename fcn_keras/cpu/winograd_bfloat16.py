"""3x3 convolutions in bfloat16 with less than half of the multiplications, for CPUs (JAX only).

Winograd's F(2x2, 3x3): tiles of 2x2 outputs from 4x4 inputs, as in `winograd`. Its transforms only
add and halve, so rounding the factors to bfloat16 costs 0.5 % of the result's standard deviation,
where the direct sum has 0.3 % and F(4x4, 3x3) would have 1.2 %.
"""

from __future__ import annotations

from functools import reduce

import jax
import jax.numpy as jnp
import numpy as np

from fcn_keras.cpu.bfloat16 import bits, floats, product, transposed_product

INPUTS = np.array([[1, 0, -1, 0], [0, 1, 1, 0], [0, -1, 1, 0], [0, 1, 0, -1]], np.float32)
KERNELS = np.array([[2, 0, 0], [1, 1, 1], [1, -1, 1], [0, 0, 2]], np.float32) / 2
PRODUCTS = np.array([[1, 1, 1, 0], [0, 1, -1, -1]], np.float32)
# Both axes of a kernel at once, (4 down x 4 across, 9), as one small matrix product.
BOTH_KERNELS = np.einsum("ai,bj->abij", KERNELS, KERNELS).reshape(16, 9)
# Maps with more values in tiles and products (128 MB) are computed in bands, which takes a fifth
# longer. Each band is compiled by itself, hence the limit to their number.
_VALUES, _BANDS = 2**26, 4


@jax.custom_vjp
def convolve(x: jax.Array, kernel: jax.Array) -> jax.Array:
    """Cross-correlation, zero-padded: ``(B, H, W, C), (3, 3, C, F) -> (B, H, W, F)``, bfloat16.

    The kernel's gradient has the kernel's own dtype. Gradients (of first order only) are computed
    the same way.
    """
    return _convolve(x, kernel)


def _convolve(x: jax.Array, kernel: jax.Array, turned: bool = False) -> jax.Array:
    """With the kernel as it is, or rotated by 180 degrees and from its filters to its channels."""
    batch, height, width, channels = x.shape
    filters = kernel.shape[2 if turned else 3]
    down, across = -(-height // 2), -(-width // 2)
    values = 16 * batch * down * across * (channels + 2 * filters)
    bands = min(-(-values // _VALUES), _BANDS, down)
    rows = -(-down // bands)

    matrix = BOTH_KERNELS[:, ::-1] if turned else BOTH_KERNELS
    kernel = kernel.astype(jnp.float32).reshape(9, *kernel.shape[2:])
    kernels = jnp.tensordot(matrix, kernel, 1).astype(x.dtype)
    x = _pad(x, bands * rows, across)

    def band(index: int) -> jax.Array:
        inputs = x[:, 2 * rows * index :][:, : 2 * rows + 2]
        tiles = [tile.reshape(-1, channels) for tile in _transform(INPUTS, _split(inputs, 4))]
        products = [product(t, k, turned) for t, k in zip(tiles, kernels, strict=True)]
        products = [p.reshape(batch, rows, across, filters) for p in products]
        four = _transform(PRODUCTS, [products[i : i + 4] for i in range(0, 16, 4)])
        # (batch, rows, down, across, right, filters)
        outputs = jnp.stack([jnp.stack(four[:2], 3), jnp.stack(four[2:], 3)], 2)
        return bits(outputs).reshape(batch, 2 * rows, 2 * across, filters)

    y = jnp.concatenate([band(index) for index in range(bands)], axis=1)
    return floats(y[:, :height, :width])


def _kernel_gradient(x: jax.Array, gradient: jax.Array) -> jax.Array:
    """``(B, H, W, C), (B, H, W, F) -> (3, 3, C, F)``: the transposed transforms in reverse."""
    height, width, filters = gradient.shape[1:]
    down, across, channels = -(-height // 2), -(-width // 2), x.shape[3]
    margins = [(0, 0), (0, height % 2), (0, width % 2), (0, 0)]
    gradient = floats(jnp.pad(bits(gradient), margins))
    tiles = _transform(INPUTS, _split(_pad(x, down, across), 4))
    gradients = _transform(PRODUCTS.T, _split(gradient, 2))
    products = [
        transposed_product(tile.reshape(-1, channels), gradient.reshape(-1, filters))
        for tile, gradient in zip(tiles, gradients, strict=True)
    ]
    kernel = jnp.tensordot(BOTH_KERNELS.T, jnp.stack(products), 1)
    return kernel.reshape(3, 3, channels, filters)


def _forward(x: jax.Array, kernel: jax.Array) -> tuple[jax.Array, tuple[jax.Array, jax.Array]]:
    return convolve(x, kernel), (x, kernel)


def _backward(
    residuals: tuple[jax.Array, jax.Array], gradient: jax.Array
) -> tuple[jax.Array, jax.Array]:
    x, kernel = residuals
    for_kernel = _kernel_gradient(x, gradient).astype(kernel.dtype)
    return _convolve(gradient, kernel, turned=True), for_kernel


convolve.defvjp(_forward, _backward)


def _pad(x: jax.Array, down: int, across: int) -> jax.Array:
    """Pads with one row of zeros before, and enough after to complete the last tile's inputs."""
    height, width = x.shape[1:3]
    margins = [(0, 0), (1, 2 * down - height + 1), (1, 2 * across - width + 1), (0, 0)]
    return floats(jnp.pad(bits(x), margins))


def _split(x: jax.Array, size: int) -> list[list[jax.Array]]:
    """Element (i, j) of all tiles, which start at every second row and column."""
    down, across = ((extent - size) // 2 + 1 for extent in x.shape[1:3])
    stops = [(i, i + 2 * down - 1, j, j + 2 * across - 1) for i in range(size) for j in range(size)]
    parts = [x[:, top:bottom:2, left:right:2] for top, bottom, left, right in stops]
    return [parts[i : i + size] for i in range(0, len(parts), size)]


def _transform(matrix: np.ndarray, parts: list[list[jax.Array]]) -> list[jax.Array]:
    """``matrix @ parts @ matrix.T`` row by row, summed in float32 and rounded to bfloat16 once."""
    columns = [_combine(matrix, list(column)) for column in zip(*parts, strict=True)]
    rows = zip(*columns, strict=True)
    return [value.astype(jnp.bfloat16) for row in rows for value in _combine(matrix, list(row))]


def _combine(matrix: np.ndarray, parts: list[jax.Array]) -> list[jax.Array]:
    """``matrix @ parts`` for a matrix of 0, 1 and -1."""
    parts = [part.astype(jnp.float32) for part in parts]
    return [
        reduce(jnp.add, (p if f > 0 else -p for f, p in zip(row, parts, strict=True) if f))
        for row in matrix
    ]
