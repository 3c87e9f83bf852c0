"""Convolutions as one matrix product of the map's patches and the kernel.

XLA:CPU's own convolution and its gradients are up to a hundred times slower where the map is hardly
larger than the kernel, as in fc6 (7x7); for 1x1 the gradient copies the kernel.
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
    batch, height, width, channels = x.shape
    size, filters = kernel.shape[0], kernel.shape[3]
    x = jnp.pad(x, [(0, 0), *[(size // 2, size // 2)] * 2, (0, 0)])
    taps = [x[:, i : i + height, j : j + width] for i in range(size) for j in range(size)]
    patches = jnp.concatenate(taps, axis=-1).reshape(-1, size * size * channels)
    return (patches @ kernel.reshape(-1, filters)).reshape(batch, height, width, filters)
