"""The map's patches as the rows of a matrix, whose product with a kernel is a convolution."""

from __future__ import annotations

import jax
import jax.numpy as jnp


def patches(x: jax.Array, size: int, border: int, rows: slice = slice(None)) -> jax.Array:
    """Each output's inputs, ``(B, H, W, C) -> (B * H' * W', k * k * C)``, of the same dtype.

    Args:
        x: The map, bfloat16 or float32.
        size: k, of the kernel.
        border: Rows of zeros around the map; H' is ``H + 2 * border - k + 1``.
        rows: Those of the kernel that are wanted.
    """
    height, width = (extent + 2 * border - size + 1 for extent in x.shape[1:3])
    x = jnp.pad(bits(x), [(0, 0), (border, border), (border, border), (0, 0)])
    taps = [x[:, i : i + height, j : j + width] for i in range(size)[rows] for j in range(size)]
    return floats(jnp.stack(taps, axis=3).reshape(len(x) * height * width, -1))


def bits(x: jax.Array) -> jax.Array:
    """bfloat16 as int16, to be moved: XLA:CPU would move it by way of float32."""
    return jax.lax.bitcast_convert_type(x, jnp.int16) if x.dtype == jnp.bfloat16 else x


def floats(x: jax.Array) -> jax.Array:
    """The reverse."""
    return jax.lax.bitcast_convert_type(x, jnp.bfloat16) if x.dtype == jnp.int16 else x
