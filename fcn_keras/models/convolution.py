"""Keras' convolution, computed faster by JAX on a CPU."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import keras
from keras import ops
from keras.src.backend import AutocastScope

from fcn_keras import cpu

# With fewer weights per tap or tiles of 4x4 outputs, Winograd's transforms cost more than they
# save; with up to `_NARROW` weights those along the rows alone save more.
_WEIGHTS, _NARROW, _TILES = 64 * 64, 64 * 128, 32
# The taps of fc6 compile for a second longer than patches, which fewer weights don't make up for.
_WEIGHTS_OF_LARGE = 512 * 256
# Patches have at most this many values (128 MB).
_PATCHES = 2**25


@keras.saving.register_keras_serializable("fcn_keras")
class Convolution(keras.layers.Conv2D):
    """`Conv2D` with the same weights and config, computed faster by JAX on a CPU.

    In float32 wide 3x3 convolutions use Winograd's algorithm; large kernels are a matrix product
    for each tap; small maps and 1x1 are one matrix product. All equal the stock layer's to 1e-5 of
    the output's range. In bfloat16 all are oneDNN's, where the CPU multiplies it. Everything else,
    other devices, other backends and symbolic shapes use the stock layer.
    """

    def add_weight(self, *args: Any, **options: Any) -> Any:
        # Sums are float32, so the bias needn't be rounded where the kernel is.
        if options.get("name") == "bias" and self.variable_dtype == "bfloat16":
            options["dtype"] = "float32"
        return super().add_weight(*args, **options)

    def call(self, inputs: Any) -> Any:
        if self._half(inputs):
            from fcn_keras.cpu import bfloat16, turned

            relu = self.activation is keras.activations.relu
            with AutocastScope(None):  # else the kernel's gradient would be rounded, too
                kernel = ops.convert_to_tensor(self.kernel)
                bias = ops.convert_to_tensor(self.bias) if self.use_bias else None
            border = self.kernel_size[0] // 2 if self.padding == "same" else 0
            matrices = turned.matrices_of(self.kernel)
            if matrices is None:
                outputs = bfloat16.convolve(inputs, kernel, bias, border, relu)
            else:
                outputs = bfloat16.convolve_turned(inputs, matrices, bias, border, relu)
            outputs = outputs if relu else self.activation(outputs)
        elif self.use_bias and self._fast(inputs):
            from fcn_keras.cpu.bias import add_bias

            outputs = self.convolution_op(inputs, self.kernel)
            outputs = self.activation(add_bias(outputs, ops.convert_to_tensor(self.bias)))
        else:
            outputs = super().call(inputs)
        # Keras doesn't cast the variables of `stateless_call`, so a float32 bias would make the sum
        # float32.
        return ops.cast(outputs, self.compute_dtype)

    def convolution_op(self, inputs: Any, kernel: Any) -> Any:
        fast = self._fast(inputs)
        if fast is None:
            return super().convolution_op(inputs, kernel)
        return fast(inputs, ops.convert_to_tensor(kernel))

    def _half(self, inputs: Any) -> bool:
        """Whether oneDNN computes the layer, in bfloat16."""
        return self._plain(inputs, "bfloat16") and cpu.multiplies_bfloat16()

    def _fast(self, inputs: Any) -> Callable | None:
        """What computes the sums in float32, if that is faster than the stock layer."""
        if not self._plain(inputs, "float32"):
            return None
        from fcn_keras.cpu import im2col, taps, winograd, winograd_rows

        batch, height, width, channels = inputs.shape
        size = self.kernel_size[0]
        if self.padding != "same" and size > 1:
            return None
        weights = channels * self.filters
        if size == 3 and weights < _WEIGHTS:
            return None
        if size == 3 and batch * -(-height // 4) * -(-width // 4) >= _TILES:
            return winograd.convolve if weights > _NARROW else winograd_rows.convolve
        if size > 3 and weights >= _WEIGHTS_OF_LARGE:
            return functools.partial(taps.convolve, border=size // 2)
        values = batch * height * width * size**2 * channels
        return im2col.convolve if size == 1 or values <= _PATCHES else None

    def _plain(self, inputs: Any, dtype: str) -> bool:
        height, width = self.kernel_size
        return (
            height == width
            and height % 2 == 1
            and tuple(self.strides) == tuple(self.dilation_rate) == (1, 1)
            and self.padding in ("same", "valid")
            and (self.groups, self.data_format) == (1, "channels_last")
            and keras.backend.standardize_dtype(inputs.dtype) == dtype
            and all(isinstance(size, int) for size in inputs.shape)
            and cpu.in_use("convolutions")
        )
