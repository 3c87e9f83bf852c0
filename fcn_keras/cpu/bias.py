"""Adding a bias, with a gradient that is a matrix product, for CPUs (JAX only)."""

from __future__ import annotations

import jax
import jax.numpy as jnp


@jax.custom_vjp
def add_bias(x: jax.Array, bias: jax.Array) -> jax.Array:
    """``x + bias``, summed in float32, of the type of `x`: ``(..., F), (F,) -> (..., F)``.

    For the sum that is the bias' gradient XLA:CPU would compute all that leads to it again, number
    by number down the columns: a tenth of a training step. It does no such thing for a product.
    """
    return (x.astype(jnp.float32) + bias).astype(x.dtype)


def _forward(x, bias):
    return add_bias(x, bias), bias


def _backward(bias, gradient):
    rows = gradient.reshape(-1, gradient.shape[-1])
    # Eight equal rows: XLA has no fast product for one.
    ones = jnp.ones((8, len(rows)), rows.dtype)
    axes = (((1,), (0,)), ((), ()))
    sums = jax.lax.dot_general(ones, rows, axes, preferred_element_type=jnp.float32)
    return gradient, sums[0].astype(bias.dtype)


add_bias.defvjp(_forward, _backward)
