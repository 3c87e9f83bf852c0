"""Counts what each layer has to compute and to move, from its shapes alone.

A multiply-add is two operations. Bytes are the least possible: every input and weight is read once
and every output written once, activations between layers going through memory, while ReLU and
bias ride along with the layer they belong to. No program needs less time than
``max(operations / peak, bytes / bandwidth)`` for a layer, unless it fuses it with the next one or
multiplies by a cleverer algorithm (such as Winograd's).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import keras
from keras import layers

from fcn_keras.models.convolution import Convolution
from fcn_keras.models.layers import Upsample
from fcn_keras.models.pooling import MaxPool

FLOAT = 4  # bytes of a weight, which is float32 whatever the layer computes in


@dataclass(frozen=True)
class Cost:
    """What a layer needs for one batch: floating-point operations, and bytes of memory traffic."""

    name: str
    flops: float
    bytes: float

    @property
    def intensity(self) -> float:
        """Operations per byte."""
        return self.flops / self.bytes

    def seconds(self, flops_per_second: float, bytes_per_second: float) -> float:
        """The least time on a machine with these limits."""
        return max(self.flops / flops_per_second, self.bytes / bytes_per_second)

    def bound(self, flops_per_second: float, bytes_per_second: float) -> str:
        """The limit that decides: "compute" or "memory"."""
        return (
            "compute" if self.flops * bytes_per_second > self.bytes * flops_per_second else "memory"
        )


def costs(model: keras.Model, batch: int, training: bool) -> list[Cost]:
    """The layers of `model`, which has a fixed input size, in order; then the loss and the update.

    Training counts the forward pass, the gradients of the weights that are trained, and those of
    every layer's input but the image. The update is SGD with momentum.
    """
    found = []
    for layer in model.layers:
        count = _TYPES.get(type(layer))
        if count is not None:
            found.append(count(layer, batch, training))
    if training:
        found += [_loss(model, batch), _update(model)]
    return found


def _sizes(layer: layers.Layer, batch: int) -> tuple[int, int]:
    """Elements of all inputs and of the output."""
    inputs = layer.input if isinstance(layer.input, list) else [layer.input]
    return (
        sum(batch * math.prod(x.shape[1:]) for x in inputs),
        batch * math.prod(layer.output.shape[1:]),
    )


def _width(layer: layers.Layer) -> int:
    """Bytes of an activation."""
    return 2 if layer.compute_dtype in ("bfloat16", "float16") else 4


def _convolution(layer: layers.Layer, batch: int, training: bool) -> Cost:
    inputs, outputs = _sizes(layer, batch)
    kernel = math.prod(layer.kernel.shape)
    # A kernel's spatial taps act at each output of a convolution, each input of a transposed one.
    grid = inputs if isinstance(layer, layers.Conv2DTranspose) else outputs
    channels = layer.kernel.shape[-1]
    forward = 2 * kernel * (grid // channels)
    width = _width(layer)
    parts = [(inputs + outputs) * width + kernel * FLOAT]
    if training:
        if layer.input.shape[-1] != 3:  # the image needs no gradient
            parts.append((inputs + outputs) * width + kernel * FLOAT)
        if layer.trainable:
            parts.append((inputs + outputs) * width + kernel * FLOAT)
    return Cost(layer.name, forward * len(parts), sum(parts))


def _elementwise(layer: layers.Layer, batch: int, training: bool) -> Cost:
    inputs, outputs = _sizes(layer, batch)
    passes = 2 if training else 1
    return Cost(layer.name, passes * outputs, passes * (inputs + outputs) * _width(layer))


def _pool(layer: layers.Layer, batch: int, training: bool) -> Cost:
    inputs, outputs = _sizes(layer, batch)
    # Backward reads the input and the output's gradient, and writes the input's.
    moved = inputs + outputs + (2 * inputs + outputs if training else 0)
    return Cost(layer.name, 4 * outputs, moved * _width(layer))


def _normalization(layer: layers.Layer, batch: int, training: bool) -> Cost:
    inputs, outputs = _sizes(layer, batch)
    # uint8 in; the image's gradient is not needed.
    return Cost(layer.name, 2 * outputs, inputs + outputs * FLOAT)


def _loss(model: keras.Model, batch: int) -> Cost:
    logits = batch * math.prod(model.output.shape[1:])
    # Read once for the loss and once more for the gradient, which is written.
    return Cost("loss", 6 * logits, 3 * FLOAT * logits)


def _update(model: keras.Model) -> Cost:
    count = sum(math.prod(v.shape) for v in model.trainable_variables)
    # Reads weight, gradient and momentum; writes weight and momentum.
    return Cost("update", 6 * count, 5 * FLOAT * count)


_TYPES = {
    layers.Conv2D: _convolution,
    Convolution: _convolution,
    layers.Conv2DTranspose: _convolution,
    Upsample: _convolution,
    layers.MaxPooling2D: _pool,
    MaxPool: _pool,
    layers.Rescaling: _normalization,
    layers.BatchNormalization: _elementwise,
    layers.ReLU: _elementwise,
    layers.Add: _elementwise,
}
