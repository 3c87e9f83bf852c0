"""Convolutions in bfloat16 by oneDNN, with gradients, for CPUs that multiply it (JAX only).

oneDNN reorders a convolution's kernel in each call. For fc6 and fc7 of VGG16, 7x7 from 512 channels
and 1x1 from 4096 to 4096 filters, this takes as long as the sums, so kernels as large and those of
1x1 are multiplied with the map's patches instead. On CPUs without AMX wide 3x3 layers are computed
by Winograd's algorithm, whose products are oneDNN's.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp

from fcn_keras import cpu
from fcn_keras.cpu import winograd_bfloat16 as winograd
from fcn_keras.cpu.bias import bias_gradient
from fcn_keras.cpu.im2col import lines, patches
from fcn_keras.cpu.onednn import convolution, product

# Larger kernels (64 MB) are multiplied with patches, where these have no more values than that.
_LARGE = 2**25
# Prediction takes kernels of as many values (32 MB), fc6 and fc7 of full width, turned.
_TURNED = 2**24
# With fewer tiles of 2x2 outputs or weights per tap Winograd's transforms cost more than they save.
_TILES, _WEIGHTS, _WEIGHTS_OF_GRADIENT = 150, 128 * 256, 64 * 64


@functools.partial(jax.custom_vjp, nondiff_argnums=(3, 4))
def convolve(
    x: jax.Array, kernel: jax.Array, bias: jax.Array | None, border: int, relu: bool
) -> jax.Array:
    """Cross-correlation, bias and ReLU: ``(B, H, W, C), (k, k, C, F), (F,) -> (B, H', W', F)``.

    The kernel, or what Winograd's algorithm makes of it, is rounded to bfloat16; sums and bias are
    float32, and rounded once. The gradients of kernel and bias have the dtypes of these. Gradients
    are of first order only.

    Args:
        x: The map, bfloat16.
        kernel: Square, of any floating type.
        bias: None adds nothing.
        border: Rows of zeros around the map; H' is ``H + 2 * border - k + 1``.
        relu: Whether negative sums become zero.
    """
    half = kernel.astype(x.dtype)
    bias = None if bias is None else bias.astype(jnp.float32)
    if _by_winograd(x, kernel, border):
        finish = functools.partial(_finished, bias=bias, relu=relu)
        return winograd.convolve(x, winograd.transform(kernel), finish)
    if not _by_patches(x, kernel):
        return convolution(x, half, bias, border=border, relu=relu)
    y = product(patches(x, len(kernel), border), half.reshape(-1, kernel.shape[3]))
    return _placed(_finished(y, bias, relu), x, len(kernel), border)


def convolve_turned(
    x: jax.Array, matrices: Sequence[jax.Array], bias: jax.Array | None, border: int, relu: bool
) -> jax.Array:
    """As `convolve`, without gradients; `matrices` ``(F, k * C)`` are the kernel's k rows.

    A row is multiplied with those outputs' patches only whose row of the map it isn't border: for
    fc6 on 7x7 these are three quarters.
    """
    size, (batch, height, width, channels) = len(matrices), x.shape
    filters = len(matrices[0])
    height_out, width_out = (extent + 2 * border - size + 1 for extent in (height, width))
    across = lines(x, size, border)
    y = jnp.zeros((batch, height_out, width_out, filters), jnp.float32)
    for row, matrix in enumerate(matrices):
        first, end = max(0, border - row), min(height_out, height + border - row)
        if first < end:
            inputs = across[:, first + row - border : end + row - border]
            products = product(inputs.reshape(-1, size * channels), matrix, transposed="b")
            products = products.reshape(batch, end - first, width_out, filters)
            y += jnp.pad(products, [(0, 0), (first, height_out - end), (0, 0), (0, 0)])
    return _finished(y, bias, relu)


def _finished(y: jax.Array, bias: jax.Array | None, relu: bool) -> jax.Array:
    """float32 sums with bias and ReLU, rounded."""
    y = y if bias is None else y + bias
    return (jax.nn.relu(y) if relu else y).astype(jnp.bfloat16)


def _placed(y: jax.Array, x: jax.Array, size: int, border: int) -> jax.Array:
    """What was made of the patches of `x`, ``(B * H' * W', F) -> (B, H', W', F)``."""
    height, width = (extent + 2 * border - size + 1 for extent in x.shape[1:3])
    return y.reshape(len(x), height, width, -1)


def turns(kernel: Any) -> bool:
    """Whether a kernel, bfloat16, is so large that prediction takes it turned."""
    large = len(kernel.shape) == 4 and math.prod(kernel.shape) >= _TURNED
    return large and kernel.dtype == "bfloat16"


def _forward(
    x: jax.Array, kernel: jax.Array, bias: jax.Array | None, border: int, relu: bool
) -> tuple[jax.Array, tuple]:
    y = convolve(x, kernel, bias, border, relu)
    return y, (x, kernel, bias, y if relu else None)


def _backward(border: int, relu: bool, residuals: tuple, gradient: jax.Array) -> tuple:
    x, kernel, bias, y = residuals
    if relu:
        gradient = jnp.where(y > 0, gradient, 0)
    for_x = _input_gradient(x, gradient, kernel.astype(x.dtype), border)
    for_kernel = _kernel_gradient(x, gradient, kernel, border).astype(kernel.dtype)
    for_bias = None if bias is None else bias_gradient(gradient).astype(bias.dtype)
    return for_x, for_kernel, for_bias


convolve.defvjp(_forward, _backward)


def _input_gradient(x: jax.Array, gradient: jax.Array, kernel: jax.Array, border: int) -> jax.Array:
    """``(B, H', W', F) -> (B, H, W, C)``; of `x` only the shape matters."""
    size, _, channels, filters = kernel.shape
    if _by_winograd(gradient, kernel, border):
        return winograd.convolve(gradient, winograd.transform(kernel[::-1, ::-1]), turned=True)
    if not _by_patches(x, kernel):
        turned = kernel[::-1, ::-1]
        return convolution(gradient, turned, border=size - 1 - border, turned=True)
    batch, height, width, _ = gradient.shape
    taps = product(gradient.reshape(-1, filters), kernel.reshape(-1, filters), transposed="b")
    taps = taps.reshape(batch, height, width, size, size, channels)
    # Each patch's gradient is added in its place.
    margins = [(0, 0), (border, border), (border, border), (0, 0)]
    sums = jnp.pad(jnp.zeros(x.shape, jnp.float32), margins)
    for i in range(size):
        for j in range(size):
            sums = sums.at[:, i : i + height, j : j + width].add(taps[:, :, :, i, j])
    return sums[:, border:, border:][:, : x.shape[1], : x.shape[2]].astype(x.dtype)


def _kernel_gradient(
    x: jax.Array, gradient: jax.Array, kernel: jax.Array, border: int
) -> jax.Array:
    """``(B, H, W, C), (B, H', W', F) -> (k, k, C, F)``, float32."""
    if _by_winograd(x, kernel, border, _WEIGHTS_OF_GRADIENT):
        return winograd.kernel_gradient(x, gradient)
    size = len(kernel)
    gradient = gradient.reshape(-1, kernel.shape[3])
    if _by_patches(x, kernel):
        return product(patches(x, size, border), gradient, transposed="a").reshape(kernel.shape)
    # A row at a time, since the patches of an early layer are hundreds of megabytes.
    rows = [patches(x, size, border, slice(i, i + 1)) for i in range(size)]
    products = [product(row, gradient, transposed="a") for row in rows]
    return jnp.stack(products).reshape(kernel.shape)


def _by_winograd(x: jax.Array, kernel: jax.Array, border: int, weights: int = _WEIGHTS) -> bool:
    if kernel.shape[:2] != (3, 3) or border != 1 or cpu.has_amx():
        return False
    tiles = len(x) * -(-x.shape[1] // 2) * -(-x.shape[2] // 2)
    return tiles >= _TILES and kernel.shape[2] * kernel.shape[3] >= weights


def _by_patches(x: jax.Array, kernel: jax.Array) -> bool:
    return len(kernel) == 1 or x.size * len(kernel) ** 2 <= _LARGE < kernel.size
