"""Counts what each layer has to compute and to move, from its shapes alone.

A multiply-add is two operations. Bytes are the least possible: every input and weight is read once
and every output written once, activations between layers go through memory, and ReLU and bias cost
nothing beside the layer they belong to. No program needs less time for a layer than
``max(operations / peak, bytes / bandwidth)``, unless it fuses it with the next one or multiplies by
a cleverer algorithm (such as Winograd's).
"""

from __future__ import annotations

import math
from typing import NamedTuple

import keras
from keras import layers

from experiments.benchmark import ours
from experiments.benchmark.case import Case

FLOAT = 4  # Bytes of a weight, which is float32 whatever the layer computes in.


class Cost(NamedTuple):
    """What a layer needs for one batch: floating-point operations, and bytes of memory traffic."""

    name: str
    flops: float
    bytes: float


def fixed_model(case: Case) -> keras.Model:
    """The case's network for images of exactly its size, so that every shape is known."""
    image = keras.Input((case.size, case.size, 3), name="image")
    return keras.models.clone_model(ours.network(case), image)


def costs(model: keras.Model, batch: int, training: bool) -> list[Cost]:
    """The layers of `model`, which has a fixed input size, in order; then the loss and the update.

    Training counts the forward pass, the gradients of the weights that are trained, and those of
    every layer's input but the image. The update is SGD with momentum.
    """
    found = [cost for layer in model.layers if (cost := _cost(layer, batch, training))]
    if training:
        logits = batch * math.prod(model.output.shape[1:])
        weights = sum(math.prod(v.shape) for v in model.trainable_variables)
        # The loss reads the logits, its gradient reads them again and is written. The update reads
        # weight, gradient and momentum, and writes weight and momentum.
        found += [
            Cost("loss", 6 * logits, 3 * FLOAT * logits),
            Cost("update", 6 * weights, 5 * FLOAT * weights),
        ]
    return found


def _cost(layer: layers.Layer, batch: int, training: bool) -> Cost | None:
    """Of one layer; None of those that only arrange what others compute, such as the input."""
    given = layer.input if isinstance(layer.input, list) else [layer.input]
    inputs = sum(batch * math.prod(x.shape[1:]) for x in given)
    outputs = batch * math.prod(layer.output.shape[1:])
    width = 2 if layer.compute_dtype == "bfloat16" else 4  # Bytes of an activation.
    match layer:
        case layers.Conv2D() | layers.Conv2DTranspose():
            kernel = math.prod(layer.kernel.shape)
            # The taps act at each output of a convolution, at each input of a transposed one.
            grid = inputs if isinstance(layer, layers.Conv2DTranspose) else outputs
            # Forward, the input's gradient (the image needs none) and the kernel's.
            passes = 1 + training * ((layer.input.shape[-1] != 3) + layer.trainable)
            flops = 2 * kernel * (grid // layer.kernel.shape[-1])
            moved = (inputs + outputs) * width + kernel * FLOAT
            return Cost(layer.name, passes * flops, passes * moved)
        case layers.MaxPooling2D():
            # Backward reads the input and the output's gradient, and writes the input's.
            moved = inputs + outputs + training * (2 * inputs + outputs)
            return Cost(layer.name, 4 * outputs, moved * width)
        case layers.Rescaling():  # Reads uint8; the image's gradient is not needed.
            return Cost(layer.name, 2 * outputs, inputs + outputs * FLOAT)
        case layers.BatchNormalization() | layers.ReLU() | layers.Add():
            passes = 1 + training
            return Cost(layer.name, passes * outputs, passes * (inputs + outputs) * width)
    return None
