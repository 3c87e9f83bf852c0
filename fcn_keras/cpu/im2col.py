"""Convolutions as one matrix product of the map's patches and the kernel.

XLA:CPU's own convolution and its gradients are up to a hundred times slower where the map is hardly
larger than the kernel; for 1x1 the gradient copies the kernel.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp


def convolve(x: jax.Array, kernel: jax.Array) -> jax.Array:
    """Cross-correlation, zero-padded: ``(B, H, W, C), (k, k, C, F) -> (B, H, W, F)``, k odd.

    The patches have ``k * k`` times as many values as `x`.

    >>> convolve(jnp.ones((1, 3, 3, 1)), jnp.ones((3, 3, 1, 1)))[0, :, :, 0].tolist()
    [[4.0, 6.0, 4.0], [6.0, 9.0, 6.0], [4.0, 6.0, 4.0]]
    """
    size, filters = kernel.shape[0], kernel.shape[3]
    y = patches(x, size, size // 2) @ kernel.reshape(-1, filters)
    return y.reshape(*x.shape[:3], filters)


def patches(x: jax.Array, size: int, border: int) -> jax.Array:
    """Each output's inputs, ``(B, H, W, C) -> (B * H' * W', k * k * C)``, of the same dtype.

    Args:
        x: The map, bfloat16 or float32.
        size: k, of the kernel.
        border: Rows of zeros around the map; H' is ``H + 2 * border - k + 1``.
    """
    height, width = (extent + 2 * border - size + 1 for extent in x.shape[1:3])
    x = jnp.pad(bits(x), [(0, 0), (border, border), (border, border), (0, 0)])
    taps = [x[:, i : i + height, j : j + width] for i in range(size) for j in range(size)]
    return floats(jnp.stack(taps, axis=3).reshape(len(x) * height * width, -1))


def lines(x: jax.Array, size: int, border: int) -> jax.Array:
    """As `patches`, of a kernel's single row: ``(B, H, W, C) -> (B, H, W', k * C)``."""
    width = x.shape[2] + 2 * border - size + 1
    x = jnp.pad(bits(x), [(0, 0), (0, 0), (border, border), (0, 0)])
    taps = [x[:, :, j : j + width] for j in range(size)]
    return floats(jnp.concatenate(taps, axis=3))


def bits(x: jax.Array) -> jax.Array:
    """bfloat16 as int16, to be moved: XLA:CPU would move it by way of float32."""
    return jax.lax.bitcast_convert_type(x, jnp.int16) if x.dtype == jnp.bfloat16 else x


def floats(x: jax.Array) -> jax.Array:
    """The reverse."""
    return jax.lax.bitcast_convert_type(x, jnp.bfloat16) if x.dtype == jnp.int16 else x
