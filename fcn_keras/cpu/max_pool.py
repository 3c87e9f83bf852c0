"""2x2 max pooling that remembers which of the four values was the largest.

For the gradient XLA:CPU searches each window again and carries four indices with each value, which
is 20 times slower.
"""

from __future__ import annotations

from functools import reduce

import jax
import jax.numpy as jnp


def max_pool(x: jax.Array) -> jax.Array:
    """``(B, H, W, C) -> (B, ceil(H / 2), ceil(W / 2), C)``; windows may hang over the far edge.

    Among equal values the gradient (of first order only) goes to the first, row by row.
    """
    margins = [(0, 0), *[(0, size % 2) for size in x.shape[1:3]], (0, 0)]
    return _largest(jnp.pad(x, margins, constant_values=-jnp.inf))


@jax.custom_vjp
def _largest(x: jax.Array) -> jax.Array:
    return reduce(jnp.maximum, _windows(x))


def _windows(x: jax.Array) -> list[jax.Array]:
    """The four values of all windows, row by row."""
    return [x[:, i::2, j::2] for i in (0, 1) for j in (0, 1)]


def _forward(x: jax.Array) -> tuple[jax.Array, jax.Array]:
    largest = _largest(x)
    first, second, third, _ = (values == largest for values in _windows(x))
    taken = jnp.where(first, 0, jnp.where(second, 1, jnp.where(third, 2, 3)))
    return largest, taken.astype(jnp.int8)


def _backward(taken: jax.Array, gradient: jax.Array) -> tuple[jax.Array]:
    batch, height, width, channels = gradient.shape
    place = jnp.arange(4, dtype=jnp.int8).reshape(2, 1, 2, 1)
    here = taken[:, :, None, :, None] == place
    spread = jnp.where(here, gradient[:, :, None, :, None], 0)
    return (spread.reshape(batch, 2 * height, 2 * width, channels),)


_largest.defvjp(_forward, _backward)
