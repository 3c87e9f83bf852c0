"""3x3 convolutions of few channels with half of the multiplications, for CPUs (JAX only).

Winograd's F(4, 3) along the rows alone, and XLA's own convolution down the columns. The transforms
of tiles of 4x4 outputs (`fcn_keras.cpu.winograd`) save more multiplications, but with 64 channels
moving the data takes longer than that.
"""

from __future__ import annotations

from itertools import pairwise

import jax
import jax.numpy as jnp

from fcn_keras.cpu import winograd
from fcn_keras.cpu.winograd import KERNEL, TILE, combine, every_fourth, interleave

# A band of rows has about this many values (16 MB), so that its transforms stay in the cache; there
# are at most so many bands, since each is compiled.
_BAND, _BANDS = 2**22, 8


@jax.custom_vjp
def convolve(x: jax.Array, kernel: jax.Array) -> jax.Array:
    """Cross-correlation, zero-padded: ``(B, H, W, C), (3, 3, C, F) -> (B, H, W, F)``, float32.

    Gradients are of first order only.
    """
    height, width = x.shape[1:3]
    kernels = combine(winograd.KERNELS, [kernel[:, j : j + 1] for j in range(KERNEL)])
    x = jnp.pad(x, [(0, 0), (1, 1), (1, -width % TILE + 1), (0, 0)])

    bands = min(-(-x.size // _BAND), _BANDS, height)
    edges = [height * i // bands for i in range(bands + 1)]
    rows = [_band(x[:, first : stop + 2], kernels) for first, stop in pairwise(edges)]
    return jnp.concatenate(rows, axis=1)[:, :, :width]


@jax.jit  # traced and lowered once for all bands of a layer
def _band(x: jax.Array, kernels: list[jax.Array]) -> jax.Array:
    """``(B, H + 2, W + 2, C)`` to ``(B, H, W, F)``, W a multiple of 4."""
    columns = combine(winograd.INPUTS, every_fourth(x, 2, x.shape[2] // TILE))
    products = [_down(c, k) for c, k in zip(columns, kernels, strict=True)]
    return interleave(combine(winograd.PRODUCTS, products), 2)


def _down(x: jax.Array, kernel: jax.Array) -> jax.Array:
    """``(B, H + 2, W, C), (3, 1, C, F) -> (B, H, W, F)``."""
    return jax.lax.conv_general_dilated(
        x, kernel, (1, 1), "VALID", dimension_numbers=("NHWC", "HWIO", "NHWC")
    )


def _forward(x: jax.Array, kernel: jax.Array) -> tuple[jax.Array, tuple[jax.Array, jax.Array]]:
    return convolve(x, kernel), (x, kernel)


def _backward(
    residuals: tuple[jax.Array, jax.Array], gradient: jax.Array
) -> tuple[jax.Array, jax.Array]:
    x, kernel = residuals

    # An image at a time: the transforms of a map of the first block are three times as large.
    def image(kernel: jax.Array, pair: tuple[jax.Array, jax.Array]) -> tuple[jax.Array, None]:
        x, gradient = pair
        return kernel + winograd.kernel_gradient(x[None], gradient[None]), None

    for_kernel, _ = jax.lax.scan(image, jnp.zeros_like(kernel), (x, gradient))
    return convolve(gradient, kernel[::-1, ::-1].swapaxes(2, 3)), for_kernel


convolve.defvjp(_forward, _backward)
