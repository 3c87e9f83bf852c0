"""Keras' own VGG16 and VGG19: ``vgg16_weights_tf_dim_ordering_tf_kernels{,_notop}.h5``.

Source: ``keras/src/applications/vgg16.py`` and ``imagenet_utils.py`` (mode "caffe": blue, green,
red in 0..255 minus the mean). The released files have the layout of Keras 1, with names like
``block1_conv1/block1_conv1_W_1:0``; what `VGG16` saves today is read as well.
"""

import re
from collections.abc import Iterator, Mapping

import numpy as np

from fcn_keras.models.anatomy import backbone_of, part
from fcn_keras.models.vgg import BACKBONES
from fcn_keras.weights.rules import (
    Rule,
    WeightsFile,
    bgr_kernel,
    kernel,
    linear,
    linear_7x7,
    minus,
    vector,
)

MEAN_BGR = (103.939, 116.779, 123.68)

# The hidden linear layers: layer here, layout of the kernel.
LINEAR = {"fc1": ("fc6", linear_7x7), "fc2": ("fc7", linear)}
VARIABLES = {"W_1": "kernel", "kernel": "kernel", "0": "kernel"}
VARIABLES |= {"b_1": "bias", "bias": "bias", "1": "bias"}
NAME = re.compile(r"(?P<layer>\w+)/(?:.*/)?(?:(?P=layer)_)?(?P<variable>W_1|b_1|kernel|bias|\d)")


def match(tensors: Mapping[str, np.ndarray]) -> WeightsFile | None:
    """The file as this format; None if it has other names."""
    if "normalize/scale" in tensors:
        return None
    rules = tuple(_rules(tensors))
    backbone = backbone_of(rule.layer for rule in rules)
    found = {(rule.layer, rule.variable) for rule in rules if part(rule.layer) == "backbone"}
    if backbone is None or len(found) != 2 * len(BACKBONES[backbone].names):
        return None
    unused = {
        name: "scores of ImageNet's classes, not the model's"
        for name in tensors
        if name.startswith("predictions/")
    }
    return WeightsFile(
        f"Keras' {BACKBONES[backbone].title}",
        rules,
        minus(*reversed(MEAN_BGR)),
        pretrained=True,
        backbone=backbone,
        unused=unused,
    )


def _rules(names: Mapping[str, np.ndarray]) -> Iterator[Rule]:
    for name in names:
        found = NAME.fullmatch(name.removesuffix(":0"))
        if not found or not (found["layer"] in LINEAR or part(found["layer"]) == "backbone"):
            continue
        layer, layout = LINEAR.get(found["layer"], (found["layer"], kernel))
        if layer == "block1_conv1":
            layout = bgr_kernel
        variable = VARIABLES[found["variable"]]
        yield Rule(name, layer, variable, layout if variable == "kernel" else vector)
