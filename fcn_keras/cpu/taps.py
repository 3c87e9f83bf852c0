"""Convolutions as one matrix product for each tap of the kernel, without the zeros of the border.

Of fc6's 49 taps only the middle one meets the whole map. The outermost meet four of seven rows and
columns of a map of 7x7: two fifths of the multiplications are saved there, a fifth at 15x15.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator

import jax
import jax.numpy as jnp

from fcn_keras.cpu.im2col import patches


@functools.partial(jax.custom_vjp, nondiff_argnums=(2,))
def convolve(x: jax.Array, kernel: jax.Array, border: int) -> jax.Array:
    """Cross-correlation: ``(B, H, W, C), (k, k, C, F) -> (B, H', W', F)``, float32.

    The map gets `border` rows of zeros around, so that H' is ``H + 2 * border - k + 1``. Gradients
    are of first order only.

    >>> convolve(jnp.ones((1, 3, 3, 1)), jnp.ones((3, 3, 1, 1)), 1)[0, :, :, 0].tolist()
    [[4.0, 6.0, 4.0], [6.0, 9.0, 6.0], [4.0, 6.0, 4.0]]
    """
    size, _, _, filters = kernel.shape
    height, width = (extent + 2 * border - size + 1 for extent in x.shape[1:3])
    y = jnp.zeros((len(x), height, width, filters), x.dtype)
    for tap, outputs, inputs in _taps(x.shape, size, border):
        y = y.at[outputs].add(x[inputs] @ kernel[tap])
    return y


def _forward(
    x: jax.Array, kernel: jax.Array, border: int
) -> tuple[jax.Array, tuple[jax.Array, jax.Array]]:
    return convolve(x, kernel, border), (x, kernel)


def _backward(
    border: int, residuals: tuple[jax.Array, jax.Array], gradient: jax.Array
) -> tuple[jax.Array, jax.Array]:
    x, kernel = residuals
    size, _, _, filters = kernel.shape
    for_x = jnp.zeros_like(x)
    for tap, outputs, inputs in _taps(x.shape, size, border):
        for_x = for_x.at[inputs].add(gradient[outputs] @ kernel[tap].T)
    # With the zeros: to put the taps' gradients together would take the kernel's memory once more.
    for_kernel = patches(x, size, border).T @ gradient.reshape(-1, filters)
    return for_x, for_kernel.reshape(kernel.shape)


convolve.defvjp(_forward, _backward)


def _taps(shape: tuple[int, ...], size: int, border: int) -> Iterator[tuple]:
    """Each tap's place in the kernel, and the outputs and inputs that it connects.

    Those are slices of maps; `shape` is that of the inputs.
    """
    for i in range(size):
        for j in range(size):
            rows, above = spans(shape[1], i, size, border)
            columns, before = spans(shape[2], j, size, border)
            if rows.stop > rows.start and columns.stop > columns.start:
                yield (i, j), (slice(None), rows, columns), (slice(None), above, before)


def spans(extent: int, tap: int, size: int, border: int) -> tuple[slice, slice]:
    """The outputs and the inputs that a tap connects, along one axis."""
    first, offset = max(0, border - tap), tap - border
    stop = min(extent + 2 * border - size + 1, extent - offset)
    return slice(first, stop), slice(first + offset, stop + offset)
