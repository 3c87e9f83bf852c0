"""3x3 convolutions with a quarter of the multiplications, for CPUs (JAX only).

Winograd's F(4x4, 3x3) (Lavin and Gray, "Fast Algorithms for Convolutional Neural Networks",
CVPR 2016) cuts the map into tiles of 4x4 outputs. A tile's 6x6 inputs and the kernel are each
taken to 6x6 values, which are multiplied point by point instead of 144 times, so that the sum over
channels is 36 matrix products; another small transform gives the outputs.

The transforms evaluate and interpolate polynomials at points of our choice. The usual
0, 1, -1, 2, -2 lose two digits; 0 and plus and minus the roots of 1/2 and 2 lose half a digit
(errors near 1e-6 of the output's range, where the direct sum has 3e-7).
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np

TILE, KERNEL = 4, 3
POINTS = (0.0, 0.5**0.5, -(0.5**0.5), 2**0.5, -(2**0.5))


def _matrices() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The transforms of inputs (6, 6), kernels (6, 3) and products (4, 6), each for one axis.

    Cook and Toom's construction: a row a point, the last one the leading coefficient.
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
    # What rounding leaves of the zeros would cost a multiplication each.
    return tuple(np.where(abs(m) < 1e-12, 0, m) for m in (inputs, kernels, products))


INPUTS, KERNELS, PRODUCTS = _matrices()
# Both axes of a kernel at once, (6 across, 6 down, 9): one small matrix product.
BOTH_KERNELS = np.einsum("ai,bj->baij", KERNELS, KERNELS).reshape(6, 6, 9).astype(np.float32)


@jax.custom_vjp
def convolve(x: jax.Array, kernel: jax.Array) -> jax.Array:
    """Cross-correlation with zeros around: ``(B, H, W, C), (3, 3, C, F) -> (B, H, W, F)``.

    Float32. Its gradients, of first order only, are computed in the same way.
    """
    return _convolve(x, kernel)


def _convolve(x: jax.Array, kernel: jax.Array, turned: bool = False) -> jax.Array:
    """With the kernel as it is, or turned by 180 degrees and from its filters to its channels."""
    height, width, channels = x.shape[1:]
    down, across = -(-height // TILE), -(-width // TILE)
    filters = kernel.shape[2 if turned else 3]
    axes = (((1,), (1 if turned else 0,)), ((), ()))

    # One of the six points across at a time: a loop compiles in a sixth of the time, and what it
    # works on stays in the cache.
    def column(_, operands):
        x, kernels = operands
        tiles = [t.reshape(-1, channels) for t in _combine(INPUTS, _every_fourth(x, 1, down))]
        products = [jax.lax.dot_general(t, k, axes) for t, k in zip(tiles, kernels, strict=True)]
        products = [p.reshape(-1, down, across, filters) for p in products]
        return None, _interleave(_combine(PRODUCTS, products), 1)

    matrix = BOTH_KERNELS[..., ::-1] if turned else BOTH_KERNELS
    kernels = jnp.tensordot(matrix, kernel.reshape(KERNEL**2, *kernel.shape[2:]), 1)
    x = _combine(INPUTS, _every_fourth(_pad_inputs(x), 2, across))
    _, products = jax.lax.scan(column, None, (jnp.stack(x), kernels))
    return _interleave(_combine(PRODUCTS, list(products)), 2)[:, :height, :width]


def _kernel_gradient(x: jax.Array, gradient: jax.Array) -> jax.Array:
    """``(B, H, W, C), (B, H, W, F) -> (3, 3, C, F)``: the transforms' transposes, backwards."""
    height, width, filters = gradient.shape[1:]
    down, across = -(-height // TILE), -(-width // TILE)
    channels = x.shape[-1]

    def column(_, operands):
        x, gradient = operands
        tiles = [t.reshape(-1, channels) for t in _combine(INPUTS, _every_fourth(x, 1, down))]
        gradient = _combine(PRODUCTS.T, _every_fourth(gradient, 1, down, TILE))
        gradient = [g.reshape(-1, filters) for g in gradient]
        return None, jnp.stack([t.T @ g for t, g in zip(tiles, gradient, strict=True)])

    x = _combine(INPUTS, _every_fourth(_pad_inputs(x), 2, across))
    margin = [(0, 0), (0, TILE * down - height), (0, TILE * across - width), (0, 0)]
    gradient = _every_fourth(jnp.pad(gradient, margin), 2, across, TILE)
    gradient = _combine(PRODUCTS.T, gradient)
    _, products = jax.lax.scan(column, None, (jnp.stack(x), jnp.stack(gradient)))
    kernel = jnp.tensordot(BOTH_KERNELS, products, [[0, 1], [0, 1]])
    return kernel.reshape(KERNEL, KERNEL, channels, filters)


def _forward(x, kernel):
    return convolve(x, kernel), (x, kernel)


def _backward(residuals, gradient):
    x, kernel = residuals
    return _convolve(gradient, kernel, turned=True), _kernel_gradient(x, gradient)


convolve.defvjp(_forward, _backward)


def _pad_inputs(x):
    """One row of zeros in front, and behind as many as complete the last tile and its margin."""
    margins = [(1, -size % TILE + 1) for size in x.shape[1:3]]
    return jnp.pad(x, [(0, 0), *margins, (0, 0)])


def _every_fourth(x, axis: int, tiles: int, size: int = TILE + KERNEL - 1) -> list[jax.Array]:
    """Element i of all tiles, for each i below `size`: slices along `axis`."""
    stop = TILE * (tiles - 1) + 1
    return [jax.lax.slice_in_dim(x, i, i + stop, TILE, axis) for i in range(size)]


def _interleave(parts, axis: int):
    """The reverse for the four elements of output tiles: ``(..., tiles, ...)`` to 4 times as
    many.
    """
    stacked = jnp.stack(parts, axis + 1)
    shape = parts[0].shape
    return stacked.reshape(*shape[:axis], TILE * shape[axis], *shape[axis + 1 :])


def _combine(matrix: np.ndarray, parts) -> list[jax.Array]:
    """``matrix @ parts``, leaving out the zeros."""
    return [
        sum(np.float32(factor) * part for factor, part in zip(row, parts, strict=True) if factor)
        for row in matrix
    ]
