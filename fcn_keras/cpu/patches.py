"""Convolutions in bfloat16 as products of patches, for CPUs (JAX only).

One gather of contiguous windows writes whole rows of the product's operand. XLA:CPU would merge a
reshape behind the gather into it, and then divide for every element. Operands of more than about
30 MB take twice as long to multiply, hence the loop over parts of the pixels.
"""

from __future__ import annotations

from functools import reduce

import jax
import jax.numpy as jnp

from fcn_keras.cpu.bfloat16 import bits, floats, product, transposed_product

# A part's patches have at most this many values (32 MB).
_PATCHES = 2**24


@jax.custom_vjp
def convolve(x: jax.Array, kernel: jax.Array) -> jax.Array:
    """Cross-correlation, zero-padded: ``(B, H, W, C), (k, k, C, F) -> (B, H, W, F)``, k odd.

    The kernel is rounded to bfloat16 here, and its gradient has the kernel's own dtype. Gradients
    (of first order only) are computed the same way.
    """
    return _convolve(x, kernel.astype(x.dtype))


def _convolve(x: jax.Array, kernel: jax.Array) -> jax.Array:
    size, _, channels, filters = kernel.shape
    pixels = x.size // channels
    columns = _columns(x, size)
    kernel = kernel.reshape(-1, filters)
    parts = -(-pixels * size * size * channels // _PATCHES)
    length = -(-pixels // parts)

    def part(_: None, first: jax.Array) -> tuple[None, jax.Array]:
        # Beyond the last pixel, its patch is repeated.
        places = jnp.minimum(first + jnp.arange(length), pixels - 1)
        patches = _patches(columns, x.shape, size, places)
        return None, bits(product(patches, kernel).astype(x.dtype))

    _, y = jax.lax.scan(part, None, length * jnp.arange(parts))
    return floats(y.reshape(-1, filters)[:pixels]).reshape(*x.shape[:3], filters)


def _input_gradient(gradient: jax.Array, kernel: jax.Array) -> jax.Array:
    """``(B, H, W, F), (k, k, C, F) -> (B, H, W, C)``: adds each patch's gradient in its place."""
    batch, height, width, filters = gradient.shape
    size, _, channels, _ = kernel.shape
    taps = product(gradient.reshape(-1, filters), kernel.reshape(-1, filters), transposed=True)
    taps = taps.reshape(batch, height, width, size, size, channels)

    def shifted(i: int, j: int) -> jax.Array:
        margins = [(i, size - 1 - i), (j, size - 1 - j)]
        return jnp.pad(taps[:, :, :, i, j], [(0, 0), *margins, (0, 0)])

    edge = size // 2
    x = reduce(jnp.add, (shifted(i, j) for i in range(size) for j in range(size)))
    return x[:, edge : edge + height, edge : edge + width].astype(gradient.dtype)


def _forward(x: jax.Array, kernel: jax.Array) -> tuple[jax.Array, tuple[jax.Array, jax.Array]]:
    return convolve(x, kernel), (x, kernel)


def _backward(
    residuals: tuple[jax.Array, jax.Array], gradient: jax.Array
) -> tuple[jax.Array, jax.Array]:
    x, kernel = residuals
    size, _, channels, filters = kernel.shape
    places = jnp.arange(x.size // channels)
    patches = _patches(_columns(x, size), x.shape, size, places)
    for_kernel = transposed_product(patches, gradient.reshape(-1, filters))
    for_x = _input_gradient(gradient, kernel.astype(x.dtype))
    return for_x, for_kernel.reshape(kernel.shape).astype(kernel.dtype)


convolve.defvjp(_forward, _backward)


def _columns(x: jax.Array, size: int) -> jax.Array:
    """Each pixel's `size` neighbours across, column by column, so that a patch is contiguous.

    ``(B, H, W, C) -> (B * W, (H + k - 1) * k * C)``, int16.
    """
    batch, _, width, _ = x.shape
    edge = size // 2
    x = jnp.pad(bits(x), [(0, 0), (edge, edge), (edge, edge), (0, 0)]).swapaxes(1, 2)
    across = [x[:, i : i + width] for i in range(size)]
    return jnp.stack(across, axis=3).reshape(batch * width, -1)


def _patches(columns: jax.Array, shape: tuple[int, ...], size: int, places: jax.Array) -> jax.Array:
    """The patches around the pixels `places` of a map of `shape`: ``(len(places), k * k * C)``."""
    _, height, width, channels = shape
    image, place = places // (height * width), places % (height * width)
    corners = [image * width + place % width, place // width * size * channels]
    dimensions = jax.lax.GatherDimensionNumbers((1,), (0,), (0, 1))
    window = (1, size * size * channels)
    starts = jnp.stack(corners, axis=1)
    return floats(jax.lax.gather(columns, starts, dimensions, window, mode="promise_in_bounds"))
