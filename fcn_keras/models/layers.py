"""What FCN needs besides Keras' own layers: bilinear upsampling, cropping, initial values."""

from __future__ import annotations

import contextlib
import contextvars
from collections.abc import Iterator
from typing import Any

import keras
import numpy as np
from keras import ops

from fcn_keras import cpu
from fcn_keras.errors import InputError


@keras.saving.register_keras_serializable("fcn_keras")
class Bilinear(keras.initializers.Initializer):
    """Kernel of a transposed convolution that interpolates bilinearly, each class by itself.

    For kernel size ``k`` the weight at tap ``i`` is ``1 - |i - c| / f`` with ``f = ceil(k / 2)``
    and the centre ``c`` at ``(k - 1) / 2`` (paper, section 3.3; the same values as Caffe's
    ``bilinear`` filler). Shape ``(k, k, classes, classes)``, zero off the class diagonal.
    """

    def __call__(self, shape: tuple, dtype: Any = None) -> Any:
        height, width, filters, channels = shape
        if filters != channels:
            raise InputError(f"a bilinear kernel needs as many filters as inputs, got {shape}")
        plane = np.outer(_triangle(height), _triangle(width))
        kernel = plane[:, :, None, None] * np.eye(channels)
        return ops.convert_to_tensor(kernel, dtype=dtype or keras.config.floatx())


@keras.saving.register_keras_serializable("fcn_keras")
class ScaledNormal(keras.initializers.VarianceScaling):
    """Normal values with variance ``scale / fan``, not truncated, as in PyTorch.

    They are drawn by NumPy: JAX would compile a program for every shape of kernel, which takes
    longer than anything else in building a model.
    """

    def __init__(self, scale: float, mode: str, seed: int | None = None):
        super().__init__(scale, mode, "untruncated_normal", seed)

    def __call__(self, shape: tuple, dtype: Any = None) -> Any:
        *window, channels, filters = shape
        fans = {"fan_in": channels, "fan_out": filters, "fan_avg": (channels + filters) / 2}
        deviation = np.sqrt(self.scale / (fans[self.mode] * np.prod(window)))
        if not _draw.get():
            return ops.convert_to_tensor(np.zeros(shape, np.float32), dtype=dtype or "float32")
        values = np.random.default_rng(self.seed).standard_normal(shape, np.float32)
        values *= np.float32(deviation)
        return ops.convert_to_tensor(values, dtype=dtype or keras.config.floatx())

    def get_config(self) -> dict[str, Any]:
        return {"scale": self.scale, "mode": self.mode, "seed": self._init_seed}


_draw = contextvars.ContextVar("draw", default=True)


@contextlib.contextmanager
def without_initial_values() -> Iterator[None]:
    """Kernels built in here are zero: they are about to be read from a file.

    Drawing the 134 million values of a full-width FCN takes longer than reading them.
    """
    token = _draw.set(False)
    try:
        yield
    finally:
        _draw.reset(token)


def _triangle(size: int) -> np.ndarray:
    return 1 - np.abs(np.arange(size) - (size - 1) / 2) / ((size + 1) // 2)


@keras.saving.register_keras_serializable("fcn_keras")
class Upsample(keras.layers.Conv2DTranspose):
    """`Conv2DTranspose` with the same weights and config, computed faster under JAX.

    XLA:CPU runs a strided transposed convolution as a convolution over zeros, up to 200 times
    slower than needed. Where the kernel is twice the stride, as in all of FCN, each block of
    ``stride x stride`` outputs depends on just 2x2 inputs: gather those four taps, multiply once,
    and move the result's channels into space. Other shapes and backends use the stock layer.
    """

    def call(self, inputs: Any) -> Any:
        twice = tuple(2 * s for s in self.strides)
        stock = self.dilation_rate != (1, 1) or self.output_padding is not None
        fast = keras.backend.backend() == "jax" and cpu.turned_on("upsampling")
        if not fast or tuple(self.kernel_size) != twice or stock:
            return super().call(inputs)
        outputs = _four_taps(inputs, self.kernel, self.strides)
        if self.padding == "same":
            height, width = ops.shape(inputs)[1:3]
            sy, sx = self.strides
            top, left = sy // 2, sx // 2
            outputs = outputs[:, top : top + sy * height, left : left + sx * width]
        if self.use_bias:
            outputs = outputs + self.bias
        return outputs if self.activation is None else self.activation(outputs)


def _four_taps(x, kernel, strides):
    """Unpadded transposed convolution ``(B, H, W, C) -> (B, s(H+1), s(W+1), F)``, kernel 2s.

    Output block ``b`` gets input ``b - 1`` through the kernel's second half and input ``b``
    through its first half, along each axis.
    """
    height, width = ops.shape(x)[1:3]
    sy, sx = strides
    filters, channels = kernel.shape[2:]
    x = ops.pad(x, [(0, 0), (1, 1), (1, 1), (0, 0)])
    taps = [x[:, i : i + height + 1, j : j + width + 1] for i in (0, 1) for j in (0, 1)]
    kernel = ops.flip(ops.reshape(kernel, (2, sy, 2, sx, filters, channels)), axis=(0, 2))
    kernel = ops.transpose(kernel, (0, 2, 5, 1, 3, 4))
    kernel = ops.reshape(kernel, (4 * channels, sy * sx * filters))
    y = ops.matmul(ops.concatenate(taps, axis=-1), kernel)
    y = ops.reshape(y, (-1, height + 1, width + 1, sy, sx, filters))
    y = ops.transpose(y, (0, 1, 3, 2, 4, 5))
    return ops.reshape(y, (-1, (height + 1) * sy, (width + 1) * sx, filters))


@keras.saving.register_keras_serializable("fcn_keras")
class Crop(keras.layers.Layer):
    """Cuts ``x (B, H, W, C)`` to the height and width of ``reference``, from `offset` on.

    The output is ``x[:, offset : offset + h, offset : offset + w]`` with ``h, w`` the reference's
    size, read at run time so that one model serves images of any size.

    A model's last layer is one of these. Its `info` is a JSON text that tells what the scores mean
    (`fcn_keras.saving.info`): as part of the configuration it goes wherever the layer goes.
    """

    def __init__(self, offset: int = 0, info: str | None = None, **kwargs: Any):
        super().__init__(**kwargs)
        self.offset = offset
        self.info = info

    def call(self, x: Any, reference: Any) -> Any:
        height, width = ops.shape(reference)[1:3]
        rows = slice(self.offset, self.offset + height)
        columns = slice(self.offset, self.offset + width)
        return x[:, rows, columns]

    def compute_output_shape(self, x_shape: tuple, reference_shape: tuple) -> tuple:
        return (x_shape[0], *reference_shape[1:3], x_shape[3])

    def get_config(self) -> dict[str, Any]:
        config = {**super().get_config(), "offset": self.offset}
        return config if self.info is None else {**config, "info": self.info}
