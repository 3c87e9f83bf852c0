"""Keras' own VGG16: ``vgg16_weights_tf_dim_ordering_tf_kernels{,_notop}.h5``.

Source: ``keras/src/applications/vgg16.py`` and ``imagenet_utils.py`` (mode "caffe": blue, green,
red in 0..255 minus the mean). The released files have the layout of Keras 1, with names like
``block1_conv1/block1_conv1_W_1:0``; what `VGG16` saves today is read as well.
"""

import re
from collections.abc import Iterator, Mapping

import numpy as np

from fcn_keras.weights.rules import (
    TRUNK,
    Format,
    Rule,
    bgr_kernel,
    kernel,
    linear,
    linear_7x7,
    minus,
    vector,
)

MEAN_BGR = (103.939, 116.779, 123.68)

# layer in the file: layer here, layout of the kernel
LAYERS = {
    "block1_conv1": ("block1_conv1", bgr_kernel),
    **{name: (name, kernel) for name in TRUNK[1:]},
    "fc1": ("fc6", linear_7x7),
    "fc2": ("fc7", linear),
}
VARIABLES = {"W_1": "kernel", "kernel": "kernel", "0": "kernel"}
VARIABLES |= {"b_1": "bias", "bias": "bias", "1": "bias"}
NAME = re.compile(r"(?P<layer>\w+)/(?:.*/)?(?:(?P=layer)_)?(?P<variable>W_1|b_1|kernel|bias|\d)")


def match(tensors: Mapping[str, np.ndarray]) -> Format | None:
    if "normalize/scale" in tensors:
        return None
    rules = tuple(_rules(tensors))
    if not {(layer, variable) for layer in TRUNK for variable in ("kernel", "bias")} <= {
        (rule.layer, rule.variable) for rule in rules
    }:
        return None
    unused = {
        name: "scores of ImageNet's classes, not the model's"
        for name in tensors
        if name.startswith("predictions/")
    }
    normalization = minus(*reversed(MEAN_BGR))
    return Format("Keras' VGG16", rules, normalization, pretrained=True, unused=unused)


def _rules(names: Mapping[str, np.ndarray]) -> Iterator[Rule]:
    for name in names:
        found = NAME.fullmatch(name.removesuffix(":0"))
        if found and found["layer"] in LAYERS:
            layer, layout = LAYERS[found["layer"]]
            variable = VARIABLES[found["variable"]]
            yield Rule(name, layer, variable, layout if variable == "kernel" else vector)
