"""Products of bfloat16 matrices with sums in float32, for CPUs (JAX only).

CPUs with instructions for it (AMX, AVX-512 BF16) multiply bfloat16 2 to 10 times faster than
float32, so most of the time goes into moving the numbers. How much depends on what XLA:CPU (jaxlib
0.10) makes of the program:

- Only ``(N, K) @ (K, M)`` and ``(N, K) @ (M, K).T`` with float32 results are fast. For any other
  product it converts the operands to float32 first, or fails. It would fold a transpose next to a
  product into it, so transposes stay outside the product's loop.
- It copies bfloat16 by way of float32, too, so arrays are moved as int16.
- It inlines a loop of one iteration.
"""

from __future__ import annotations

import math

import jax
import jax.numpy as jnp


def bits(x: jax.Array) -> jax.Array:
    """The bfloat16 values of `x` as int16, for moving."""
    return jax.lax.bitcast_convert_type(x, jnp.int16)


def floats(x: jax.Array) -> jax.Array:
    """The inverse of `bits`."""
    return jax.lax.bitcast_convert_type(x, jnp.bfloat16)


def product(a: jax.Array, b: jax.Array, transposed: bool = False) -> jax.Array:
    """``a @ b``, or ``a @ b.T``, in float32."""
    axes = (((1,), (1 if transposed else 0,)), ((), ()))
    return jax.lax.dot_general(a, b, axes, preferred_element_type=jnp.float32)


def transposed_product(a: jax.Array, b: jax.Array) -> jax.Array:
    """``a.T @ b`` in float32: ``(N, C), (N, F) -> (C, F)``, half of the columns of `a` at a time.

    With an odd number of columns XLA multiplies in float32.
    """
    halves = math.gcd(a.shape[1], 2)
    columns = bits(a).reshape(len(a), halves, -1).transpose(1, 2, 0)

    def half(_: None, columns: jax.Array) -> tuple[None, jax.Array]:
        return None, product(floats(columns), b)

    return jax.lax.scan(half, None, columns)[1].reshape(a.shape[1], b.shape[1])
