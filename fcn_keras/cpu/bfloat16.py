"""Convolutions in bfloat16 by oneDNN, with gradients, for CPUs that multiply it (JAX only).

oneDNN reorders a convolution's kernel in each call. For fc6 and fc7 of VGG16, 7x7 from 512 channels
and 1x1 from 4096 to 4096 filters, this takes as long as the sums. So kernels as large and those of
1x1 are multiplied with the map's patches instead, each row of the kernel with those of the map that
it meets. On CPUs without AMX wide 3x3 layers are computed by Winograd's algorithm, whose products
are oneDNN's.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Iterator, Sequence
from typing import Any

import jax
import jax.numpy as jnp

from fcn_keras import cpu
from fcn_keras.cpu import winograd_bfloat16 as winograd
from fcn_keras.cpu.bias import bias_gradient
from fcn_keras.cpu.im2col import lines, patches
from fcn_keras.cpu.onednn import convolution, product
from fcn_keras.cpu.taps import spans

# Larger kernels (64 MB) are computed by rows, where the patches have no more values than that.
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
    return _convolved(x, kernel, _rounded(x, kernel), bias, border, relu)


def convolve_turned(
    x: jax.Array, matrices: Sequence[jax.Array], bias: jax.Array | None, border: int, relu: bool
) -> jax.Array:
    """As `convolve`, without gradients; `matrices` ``(F, k * C)`` are the kernel's k rows.

    fc6's patches have fewer values than the first block's maps, whatever the photo's size.
    """
    return _finished(_sums(x, matrices, border, transposed="b"), bias, relu)


def _rounded(x: jax.Array, kernel: jax.Array) -> jax.Array | list[jax.Array]:
    """A kernel in bfloat16; if the layer is computed by rows, these as ``(k * C, F)``."""
    if not _by_rows(x, kernel):
        return kernel.astype(x.dtype)
    return [row.reshape(-1, kernel.shape[3]).astype(x.dtype) for row in kernel]


def _convolved(
    x: jax.Array, kernel: jax.Array, rounded: Any, bias: jax.Array | None, border: int, relu: bool
) -> jax.Array:
    bias = None if bias is None else bias.astype(jnp.float32)
    if _by_winograd(x, kernel, border):
        finish = functools.partial(_finished, bias=bias, relu=relu)
        return winograd.convolve(x, winograd.transform(kernel), finish)
    if _by_rows(x, kernel):
        return _finished(_sums(x, rounded, border), bias, relu)
    return convolution(x, rounded, bias, border=border, relu=relu)


def _sums(x: jax.Array, rows: Sequence[jax.Array], border: int, transposed: str = "") -> jax.Array:
    """The products of a map's patches and a kernel's k rows: ``(B, H', W', F)``, float32.

    Args:
        x: The map ``(B, H, W, C)``.
        rows: Matrices ``(k * C, F)``.
        border: As for `convolve`.
        transposed: "b" if they are ``(F, k * C)``.
    """
    across, filters = lines(x, len(rows), border), rows[0].shape[0 if transposed else 1]
    batch, height, width, values = across.shape
    height_out = height + 2 * border - len(rows) + 1
    sums = jnp.zeros((batch, height_out, width, filters), jnp.float32)
    for number, inputs, outputs in _places(height, len(rows), border):
        y = product(across[:, inputs].reshape(-1, values), rows[number], transposed)
        beyond = outputs.start, height_out - outputs.stop
        y = y.reshape(batch, -1, width, filters)
        sums += jnp.pad(y, [(0, 0), beyond, (0, 0), (0, 0)])
    return sums


def _places(height: int, size: int, border: int) -> Iterator[tuple[int, slice, slice]]:
    """The rows of a kernel, those of the map that each meets, and those of the output it adds to.

    At other outputs it meets the border's zeros: fc6 on a map of 7 rows in a quarter of all cases.
    """
    for number in range(size):
        outputs, inputs = spans(height, number, size, border)
        if outputs.start < outputs.stop:
            yield number, inputs, outputs


def _finished(y: jax.Array, bias: jax.Array | None, relu: bool) -> jax.Array:
    """float32 sums with bias and ReLU, rounded."""
    y = y if bias is None else y + bias
    return (jax.nn.relu(y) if relu else y).astype(jnp.bfloat16)


def turns(kernel: Any) -> bool:
    """Whether a kernel, bfloat16, is so large that prediction takes it turned."""
    large = len(kernel.shape) == 4 and math.prod(kernel.shape) >= _TURNED
    return large and kernel.dtype == "bfloat16"


def _forward(
    x: jax.Array, kernel: jax.Array, bias: jax.Array | None, border: int, relu: bool
) -> tuple[jax.Array, tuple]:
    rounded = _rounded(x, kernel)
    y = _convolved(x, kernel, rounded, bias, border, relu)
    return y, (x, kernel, rounded, bias, y if relu else None)


def _backward(border: int, relu: bool, residuals: tuple, gradient: jax.Array) -> tuple:
    x, kernel, rounded, bias, y = residuals
    if relu:
        gradient = jnp.where(y > 0, gradient, 0)
    for_x = _input_gradient(x, gradient, kernel, rounded, border)
    for_kernel = _kernel_gradient(x, gradient, kernel, border).astype(kernel.dtype)
    for_bias = None if bias is None else bias_gradient(gradient).astype(bias.dtype)
    return for_x, for_kernel, for_bias


convolve.defvjp(_forward, _backward)


def _input_gradient(
    x: jax.Array, gradient: jax.Array, kernel: jax.Array, rounded: Any, border: int
) -> jax.Array:
    """``(B, H', W', F) -> (B, H, W, C)``; of `x` and `kernel` only the shapes matter."""
    size, _, channels, filters = kernel.shape
    if _by_winograd(gradient, kernel, border):
        return winograd.convolve(gradient, winograd.transform(rounded[::-1, ::-1]), turned=True)
    if not _by_rows(x, kernel):
        turned = rounded[::-1, ::-1]
        return convolution(gradient, turned, border=size - 1 - border, turned=True)
    batch, height, width, _ = x.shape
    width_out = gradient.shape[2]
    sums = jnp.zeros((batch, height, width + 2 * border, channels), jnp.float32)
    for number, inputs, outputs in _places(height, size, border):
        part = gradient[:, outputs].reshape(-1, filters)
        taps = product(part, rounded[number], transposed="b")
        taps = taps.reshape(batch, -1, width_out, size, channels)
        for j in range(size):  # each patch's gradient is added in its place
            sums = sums.at[:, inputs, j : j + width_out].add(taps[:, :, :, j])
    return sums[:, :, border : border + width].astype(x.dtype)


def _kernel_gradient(
    x: jax.Array, gradient: jax.Array, kernel: jax.Array, border: int
) -> jax.Array:
    """``(B, H, W, C), (B, H', W', F) -> (k, k, C, F)``, float32."""
    if _by_winograd(x, kernel, border, _WEIGHTS_OF_GRADIENT):
        return winograd.kernel_gradient(x, gradient)
    size, filters = len(kernel), kernel.shape[3]
    if _by_rows(x, kernel):
        # At once, since to join the rows takes as long as one saves by leaving out the border.
        whole = patches(x, size, border), gradient.reshape(-1, filters)
        return product(*whole, transposed="a").reshape(kernel.shape)
    across = lines(x, size, border)
    rows = [jnp.zeros((across.shape[3], filters))] * size
    for number, inputs, outputs in _places(x.shape[1], size, border):
        values = across[:, inputs].reshape(-1, across.shape[3])
        part = gradient[:, outputs].reshape(-1, filters)
        rows[number] = product(values, part, transposed="a")
    return jnp.stack(rows).reshape(kernel.shape)


def _by_winograd(x: jax.Array, kernel: jax.Array, border: int, weights: int = _WEIGHTS) -> bool:
    if kernel.shape[:2] != (3, 3) or border != 1 or cpu.has_amx():
        return False
    tiles = len(x) * -(-x.shape[1] // 2) * -(-x.shape[2] // 2)
    return tiles >= _TILES and kernel.shape[2] * kernel.shape[3] >= weights


def _by_rows(x: jax.Array, kernel: jax.Array) -> bool:
    return len(kernel) == 1 or x.size * len(kernel) ** 2 <= _LARGE < kernel.size
