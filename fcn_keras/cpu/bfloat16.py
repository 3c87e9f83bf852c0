"""Products of bfloat16 matrices with sums in float32, for CPUs (JAX only).

CPUs with instructions for it (AMX, AVX-512 BF16) multiply bfloat16 2 to 10 times faster than
float32, so that moving the numbers takes longer than the products. What XLA:CPU (jaxlib 0.10) makes
of a program decides how long:

- It is quick at ``(N, K) @ (K, M)`` and ``(N, K) @ (M, K).T`` with float32 results alone, and takes
  the operands of anything else to float32 first, or fails at it. A transpose beside a product would
  be folded into it, so it stays outside of the loop that the product is in.
- It moves bfloat16 by way of float32, too: here it goes as int16.
- A loop of one turn is undone.
"""

from __future__ import annotations

import math

import jax
import jax.numpy as jnp


def bits(x: jax.Array) -> jax.Array:
    """The bfloat16 values of `x` as int16, to be moved."""
    return jax.lax.bitcast_convert_type(x, jnp.int16)


def floats(x: jax.Array) -> jax.Array:
    """The reverse."""
    return jax.lax.bitcast_convert_type(x, jnp.bfloat16)


def product(a: jax.Array, b: jax.Array, transposed: bool = False) -> jax.Array:
    """``a @ b``, or ``a @ b.T``, in float32."""
    axes = (((1,), (1 if transposed else 0,)), ((), ()))
    return jax.lax.dot_general(a, b, axes, preferred_element_type=jnp.float32)


def transposed_product(a: jax.Array, b: jax.Array) -> jax.Array:
    """``a.T @ b`` in float32: ``(N, C), (N, F) -> (C, F)``, half of the columns of `a` at a time.

    Where their number is odd XLA multiplies in float32.
    """
    halves = math.gcd(a.shape[1], 2)
    columns = bits(a).reshape(len(a), halves, -1).transpose(1, 2, 0)

    def half(_, columns):
        return None, product(floats(columns), b)

    return jax.lax.scan(half, None, columns)[1].reshape(a.shape[1], b.shape[1])
