"""Convolutions with large kernels on small maps, one kernel tap at a time (JAX, for CPUs).

XLA:CPU's own convolution is slow where the map is hardly larger than the kernel, as for fc6 (7x7):
up to a hundred times where it is smaller. Each tap is a matrix product of the shifted map with one
plane of the kernel, for the outputs as for both gradients.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp


@jax.custom_vjp
def convolve(x: jax.Array, kernel: jax.Array) -> jax.Array:
    """Cross-correlation with zeros around: ``(B, H, W, C), (k, k, C, F) -> (B, H, W, F)``, k odd.

    Its gradients are of first order only.
    """
    height, width = x.shape[1:3]
    if min(height, width) < kernel.shape[0]:
        return _sum_of_taps(x, kernel)
    # Large enough for XLA's own way.
    numbers = ("NHWC", "HWIO", "NHWC")
    return jax.lax.conv_general_dilated(x, kernel, (1, 1), "SAME", dimension_numbers=numbers)


def _sum_of_taps(x, kernel, transposed: bool = False):
    """Sums over the taps and C or, for the gradient of the input, over the turned taps and F."""
    batch, height, width, channels = x.shape
    size = kernel.shape[0]
    padded = _pad(x, size)
    axes = (((1,), (int(transposed),)), ((), ()))

    def add(total, tap):
        y, x = tap // size, tap % size
        window = jax.lax.dynamic_slice(padded, (0, y, x, 0), (batch, height, width, channels))
        # Turning the whole kernel would copy it: 400 MB for fc6.
        plane = kernel[size - 1 - y, size - 1 - x] if transposed else kernel[y, x]
        return total + jax.lax.dot_general(window.reshape(-1, channels), plane, axes), None

    total = jnp.zeros((batch * height * width, kernel.shape[2 if transposed else 3]), x.dtype)
    total, _ = jax.lax.scan(add, total, jnp.arange(size * size))
    return total.reshape(batch, height, width, -1)


def _kernel_gradient(x, gradient, size: int):
    batch, height, width, channels = x.shape
    padded = _pad(x, size)
    gradient = gradient.reshape(batch * height * width, -1)
    axes = (((0,), (0,)), ((), ()))

    def plane(_, tap):
        start = (0, tap // size, tap % size, 0)
        window = jax.lax.dynamic_slice(padded, start, (batch, height, width, channels))
        return None, jax.lax.dot_general(window.reshape(-1, channels), gradient, axes)

    _, planes = jax.lax.scan(plane, None, jnp.arange(size * size))
    return planes.reshape(size, size, channels, -1)


def _pad(x, size: int):
    return jnp.pad(x, [(0, 0), *[(size // 2, size // 2)] * 2, (0, 0)])


def _forward(x, kernel):
    return convolve(x, kernel), (x, kernel)


def _backward(residuals, gradient):
    x, kernel = residuals
    return (
        _sum_of_taps(gradient, kernel, transposed=True),
        _kernel_gradient(x, gradient, kernel.shape[0]),
    )


convolve.defvjp(_forward, _backward)
