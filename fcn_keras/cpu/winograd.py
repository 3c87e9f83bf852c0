"""3x3 convolutions with a quarter of the multiplications, for CPUs (JAX only).

Winograd's F(4x4, 3x3) (Lavin and Gray, "Fast Algorithms for Convolutional Neural Networks",
CVPR 2016) cuts the map into tiles of 4x4 outputs. A tile's 6x6 inputs and the kernel are each
transformed to 6x6 values. These take 36 multiplications instead of 144, so that the sum over
channels is 36 matrix products; another small transform gives the outputs.

The transforms evaluate and interpolate polynomials at points of our choice. The usual
0, 1, -1, 2, -2 lose two digits; 0 and plus and minus the roots of 1/2 and 2 lose half a digit
(errors near 1e-6 of the output's range, where the direct sum has 3e-7).
"""

from __future__ import annotations

from functools import reduce

import jax
import jax.numpy as jnp
import numpy as np

TILE, KERNEL = 4, 3
POINTS = (0.0, 0.5**0.5, -(0.5**0.5), 2**0.5, -(2**0.5))


def _matrices() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The transforms of inputs (6, 6), kernels (6, 3) and products (4, 6), each for one axis.

    Cook and Toom's construction: one row per point, and a last row for the leading coefficient.
    """
    points = np.array(POINTS)
    size = len(points) + 1
    inputs, kernels = np.zeros((size, size)), np.zeros((size, KERNEL))
    products = np.zeros((TILE, size))
    for row, point in enumerate(points):
        others = np.delete(points, row)
        inputs[row, :-1] = np.poly(others)[::-1]
        kernels[row] = point ** np.arange(KERNEL) / np.prod(point - others)
        products[:, row] = point ** np.arange(TILE)
    inputs[-1] = np.poly(points)[::-1]
    kernels[-1, -1] = products[-1, -1] = 1
    return _cleaned(inputs), _cleaned(kernels), _cleaned(products)


def _cleaned(matrix: np.ndarray) -> np.ndarray:
    """Sets zeros to 0 that rounding missed, since each would cost a multiplication."""
    return np.where(abs(matrix) < 1e-12, 0, matrix)


INPUTS, KERNELS, PRODUCTS = _matrices()
# Both axes of a kernel at once, (6 across, 6 down, 9), as one small matrix product.
BOTH_KERNELS = np.einsum("ai,bj->baij", KERNELS, KERNELS).reshape(6, 6, 9).astype(np.float32)


@jax.custom_vjp
def convolve(x: jax.Array, kernel: jax.Array) -> jax.Array:
    """Cross-correlation, zero-padded: ``(B, H, W, C), (3, 3, C, F) -> (B, H, W, F)``, float32.

    Gradients (of first order only) are computed the same way.
    """
    return _convolve(x, kernel)


def _convolve(x: jax.Array, kernel: jax.Array, turned: bool = False) -> jax.Array:
    """With the kernel as it is, or rotated by 180 degrees and from its filters to its channels."""
    height, width, channels = x.shape[1:]
    down, across = -(-height // TILE), -(-width // TILE)
    filters = kernel.shape[2 if turned else 3]
    axes = (((1,), (1 if turned else 0,)), ((), ()))

    # One of the six points across at a time: a loop compiles in a sixth of the time, and its data
    # stay in the cache, and so do the transforms of the kernels.
    def column(_: None, operands: tuple[jax.Array, jax.Array]) -> tuple[None, jax.Array]:
        x, point = operands
        rows = [point[0] * row[0] + point[1] * row[1] + point[2] * row[2] for row in kernel]
        kernels = combine(KERNELS, rows)
        tiles = [t.reshape(-1, channels) for t in combine(INPUTS, every_fourth(x, 1, down))]
        products = [jax.lax.dot_general(t, k, axes) for t, k in zip(tiles, kernels, strict=True)]
        products = [p.reshape(-1, down, across, filters) for p in products]
        return None, interleave(combine(PRODUCTS, products), 1)

    kernel = kernel[::-1, ::-1] if turned else kernel
    columns = combine(INPUTS, every_fourth(_pad_inputs(x), 2, across))
    points = jnp.asarray(KERNELS, jnp.float32)
    _, products = jax.lax.scan(column, None, (jnp.stack(columns), points))
    return interleave(combine(PRODUCTS, list(products)), 2)[:, :height, :width]


def kernel_gradient(x: jax.Array, gradient: jax.Array) -> jax.Array:
    """``(B, H, W, C), (B, H, W, F) -> (3, 3, C, F)``: the transposed transforms in reverse."""
    height, width, filters = gradient.shape[1:]
    down, across = -(-height // TILE), -(-width // TILE)
    channels = x.shape[-1]

    def column(_: None, operands: tuple[jax.Array, jax.Array]) -> tuple[None, jax.Array]:
        x, gradient = operands
        tiles = [t.reshape(-1, channels) for t in combine(INPUTS, every_fourth(x, 1, down))]
        parts = combine(PRODUCTS.T, every_fourth(gradient, 1, down, TILE))
        parts = [part.reshape(-1, filters) for part in parts]
        return None, jnp.stack([t.T @ g for t, g in zip(tiles, parts, strict=True)])

    inputs = combine(INPUTS, every_fourth(_pad_inputs(x), 2, across))
    margin = [(0, 0), (0, TILE * down - height), (0, TILE * across - width), (0, 0)]
    parts = every_fourth(jnp.pad(gradient, margin), 2, across, TILE)
    gradients = combine(PRODUCTS.T, parts)
    _, products = jax.lax.scan(column, None, (jnp.stack(inputs), jnp.stack(gradients)))
    kernel = jnp.tensordot(BOTH_KERNELS, products, [[0, 1], [0, 1]])
    return kernel.reshape(KERNEL, KERNEL, channels, filters)


def _forward(x: jax.Array, kernel: jax.Array) -> tuple[jax.Array, tuple[jax.Array, jax.Array]]:
    return convolve(x, kernel), (x, kernel)


def _backward(
    residuals: tuple[jax.Array, jax.Array], gradient: jax.Array
) -> tuple[jax.Array, jax.Array]:
    x, kernel = residuals
    return _convolve(gradient, kernel, turned=True), kernel_gradient(x, gradient)


convolve.defvjp(_forward, _backward)


def _pad_inputs(x: jax.Array) -> jax.Array:
    """Pads with one row of zeros before, and enough after to complete the last tile's inputs."""
    margins = [(1, -size % TILE + 1) for size in x.shape[1:3]]
    return jnp.pad(x, [(0, 0), *margins, (0, 0)])


def every_fourth(
    x: jax.Array, axis: int, tiles: int, size: int = TILE + KERNEL - 1
) -> list[jax.Array]:
    """Element i of all tiles, for each i below `size`: slices along `axis`."""
    stop = TILE * (tiles - 1) + 1
    return [jax.lax.slice_in_dim(x, i, i + stop, TILE, axis) for i in range(size)]


def interleave(parts: list[jax.Array], axis: int) -> jax.Array:
    """The inverse for the four elements of output tiles: 4 x ``(..., N, ...)`` to ``4 * N``."""
    stacked = jnp.stack(parts, axis + 1)
    shape = parts[0].shape
    return stacked.reshape(*shape[:axis], TILE * shape[axis], *shape[axis + 1 :])


def combine(matrix: np.ndarray, parts: list[jax.Array]) -> list[jax.Array]:
    """``matrix @ parts``, skipping the zeros."""
    # Operators on arrays are compiled functions of their own, which take twice as long to trace.
    mul, add = jax.lax.mul, jax.lax.add
    return [
        reduce(add, (mul(p, np.float32(f)) for f, p in zip(row, parts, strict=True) if f))
        for row in matrix
    ]
