"""ONNX, written layer by layer from the model's graph.

Maps are ``(B, C, H, W)`` inside, as ONNX's operators want them, and images and outputs
``(B, H, W, C)`` as everywhere here.
"""

from __future__ import annotations

import functools
import json
from pathlib import Path
from typing import Any

import keras
import numpy as np
from keras import layers

from fcn_keras.errors import InputError
from fcn_keras.export import onnx_int8
from fcn_keras.export.job import INPUT, Job
from fcn_keras.models.layers import Crop

# Read by ONNX Runtime since 1.12 (2022), OpenVINO and ONNX Runtime Web.
OPSET, IR_VERSION = 17, 8


def write(job: Job, path: Path) -> None:
    """Writes the file.

    Args:
        job: The model, and what to make of it.
        path: The file.

    Raises:
        InputError: the model has a layer that none of our models has.
    """
    import onnx
    from onnx import TensorProto, helper

    graph = _Graph(half=job.quantize == "float16")
    logits = _translate(job.model, graph)
    batch_and_size = (
        "batch",
        *(s or n for s, n in zip(job.size, ("height", "width"), strict=True)),
    )
    classes = job.model.output_shape[-1]
    if job.output == "classes":
        indices = graph.add("ArgMax", [logits], axis=1, keepdims=0)
        graph.add("Cast", [indices], to=TensorProto.UINT8, name=job.output)
        kind, shape = TensorProto.UINT8, batch_and_size
    else:
        if job.output == "probabilities":
            logits = graph.add("Softmax", [logits], axis=1)
        graph.add("Transpose", [logits], perm=(0, 2, 3, 1), name=job.output)
        kind, shape = TensorProto.FLOAT, (*batch_and_size, classes)
    images = helper.make_tensor_value_info(INPUT, TensorProto.FLOAT, (*batch_and_size, 3))
    outputs = helper.make_tensor_value_info(job.output, kind, shape)
    model = helper.make_model(
        helper.make_graph(graph.nodes, job.model.name, [images], [outputs], graph.constants),
        producer_name="fcn-keras",
        ir_version=IR_VERSION,
        opset_imports=[helper.make_opsetid("", OPSET)],
    )
    helper.set_model_props(model, {name: json.dumps(value) for name, value in job.facts.items()})
    onnx.save_model(model, path)
    if job.quantize == "int8":
        onnx_int8.quantise(path, classes, job.calibration)


class _Graph:
    """Nodes and constants; tensors are referred to by name.

    With `half` kernels are kept in float16 and computed with in float32: a runtime widens them
    once, when it reads the file.
    """

    def __init__(self, half: bool) -> None:
        self.half = half
        self.nodes: list[Any] = []
        self.constants: list[Any] = []

    def add(
        self, operator: str, inputs: list[str], name: str | None = None, **attributes: Any
    ) -> str:
        """Appends a node and names its output."""
        from onnx import helper

        name = name or f"{operator}_{len(self.nodes)}"
        self.nodes.append(helper.make_node(operator, inputs, [name], name, **attributes))
        return name

    def constant(self, value: Any, dtype: str = "float32") -> str:
        """Adds a constant and names it."""
        from onnx import numpy_helper

        name = f"constant_{len(self.constants)}"
        array = np.ascontiguousarray(value, dtype)
        self.constants.append(numpy_helper.from_array(array, name))
        return name

    def kernel(self, layer: keras.Layer) -> str:
        """Adds a convolution's kernel, output filters first, and names it."""
        from onnx import TensorProto

        values = np.transpose(layer.kernel, (3, 2, 0, 1))
        if not self.half:
            return self.constant(values)
        return self.add("Cast", [self.constant(values, "float16")], to=TensorProto.FLOAT)


def _translate(model: keras.Model, graph: _Graph) -> str:
    """Adds the model's layers to the graph; returns the name of its scores ``(B, C, H, W)``."""
    names = {id(model.inputs[0]): graph.add("Transpose", [INPUT], perm=(0, 3, 1, 2))}
    for layer in model.layers:  # each behind those that it takes maps from
        if not isinstance(layer, layers.InputLayer):
            inputs = [names[id(tensor)] for tensor in keras.tree.flatten(layer.input)]
            names[id(layer.output)] = _add(layer, graph, *inputs)
    return names[id(model.outputs[0])]


@functools.singledispatch
def _add(layer: keras.Layer, graph: _Graph, *inputs: str) -> str:
    """Adds what the layer computes; returns the name of its output."""
    raise InputError(
        f"layer {layer.name} ({type(layer).__name__}) has no counterpart in the ONNX writer: "
        'take format="saved-model"'
    )


@_add.register(layers.Rescaling)
def _(layer: layers.Rescaling, graph: _Graph, x: str) -> str:
    scaled = graph.add("Mul", [x, graph.constant(_per_channel(layer.scale))])
    return graph.add("Add", [scaled, graph.constant(_per_channel(layer.offset))])


def _per_channel(values: Any) -> np.ndarray:
    return np.reshape(np.asarray(values, np.float32), (1, -1, 1, 1))


@_add.register(layers.ZeroPadding2D)
def _(layer: layers.ZeroPadding2D, graph: _Graph, x: str) -> str:
    (top, bottom), (left, right) = layer.padding
    sizes = graph.constant((0, 0, top, left, 0, 0, bottom, right), "int64")
    return graph.add("Pad", [x, sizes])


@_add.register(layers.Conv2D)
def _(layer: layers.Conv2D, graph: _Graph, x: str) -> str:
    plain = layer.strides == (1, 1) and layer.groups == 1
    odd = all(size % 2 for size in layer.kernel_size)
    _require(layer, plain and (odd or layer.padding == "valid"))
    spans = [d * (k - 1) for d, k in zip(layer.dilation_rate, layer.kernel_size, strict=True)]
    pads = [span // 2 if layer.padding == "same" else 0 for span in spans]
    inputs = [x, graph.kernel(layer)]
    if layer.use_bias:
        inputs.append(graph.constant(layer.bias))
    y = graph.add("Conv", inputs, pads=pads * 2, dilations=layer.dilation_rate)
    return _activate(layer, graph, y)


@_add.register(layers.Conv2DTranspose)
def _(layer: layers.Conv2DTranspose, graph: _Graph, x: str) -> str:
    twice = layer.kernel_size == tuple(2 * stride for stride in layer.strides)
    even = all(stride % 2 == 0 for stride in layer.strides)
    plain = layer.dilation_rate == (1, 1) and layer.output_padding is None
    _require(layer, twice and even and plain)
    pads = [stride // 2 if layer.padding == "same" else 0 for stride in layer.strides]
    inputs = [x, graph.kernel(layer)]
    if layer.use_bias:
        inputs.append(graph.constant(layer.bias))
    y = graph.add("ConvTranspose", inputs, strides=layer.strides, pads=pads * 2)
    return _activate(layer, graph, y)


def _activate(layer: keras.Layer, graph: _Graph, x: str) -> str:
    name = layer.activation.__name__
    _require(layer, name in ("linear", "relu"))
    return graph.add("Relu", [x]) if name == "relu" else x


def _require(layer: keras.Layer, possible: bool) -> None:
    if not possible:
        raise InputError(
            f"layer {layer.name} ({type(layer).__name__}) has settings that the ONNX writer can't "
            'express: take format="saved-model"'
        )


@_add.register(layers.MaxPooling2D)
def _(layer: layers.MaxPooling2D, graph: _Graph, x: str) -> str:
    pads = {"same": "SAME_UPPER", "valid": "VALID"}[layer.padding]
    return graph.add(
        "MaxPool", [x], kernel_shape=layer.pool_size, strides=layer.strides, auto_pad=pads
    )


@_add.register(layers.BatchNormalization)
def _(layer: layers.BatchNormalization, graph: _Graph, x: str) -> str:
    _require(layer, layer.scale and layer.center)
    values = (layer.gamma, layer.beta, layer.moving_mean, layer.moving_variance)
    inputs = [x, *map(graph.constant, values)]
    return graph.add("BatchNormalization", inputs, epsilon=layer.epsilon)


@_add.register(layers.ReLU)
def _(layer: layers.ReLU, graph: _Graph, x: str) -> str:
    _require(layer, layer.max_value is None and not layer.negative_slope and not layer.threshold)
    return graph.add("Relu", [x])


@_add.register(layers.Dropout)
def _(layer: layers.Dropout, graph: _Graph, x: str) -> str:
    return x


@_add.register(layers.Add)
def _(layer: layers.Add, graph: _Graph, x: str, y: str) -> str:
    return graph.add("Add", [x, y])


@_add.register(Crop)
def _(layer: Crop, graph: _Graph, x: str, reference: str) -> str:
    offset = graph.constant((layer.offset,) * 2, "int64")
    size = graph.add("Shape", [reference], start=2, end=4)
    end = graph.add("Add", [size, offset])
    return graph.add("Slice", [x, offset, end, graph.constant((2, 3), "int64")])
