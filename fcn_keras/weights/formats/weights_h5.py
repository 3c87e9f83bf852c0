"""A ``.weights.h5`` of this package: converted by `convert`, or a model's `save_weights`.

Source: ``keras/src/saving/saving_lib.py``. Keras numbers the variables of a layer; the layer's name
is an attribute of its ``vars`` group (see `fcn_keras.weights.files.h5_file`).
"""

import re
from collections.abc import Mapping

import numpy as np

from fcn_keras.models.anatomy import HEAD, backbone_of
from fcn_keras.models.vgg import BACKBONES
from fcn_keras.weights.rules import BATCH_NORM, Normalization, Rule, WeightsFile, kernel, vector

NAME = re.compile(r"(?P<layer>\w+)/vars/(?P<index>\d)")
CONVOLUTION = ("kernel", "bias")
NORMALIZATION = tuple(BATCH_NORM.values())


def match(tensors: Mapping[str, np.ndarray]) -> WeightsFile | None:
    """The file as this format; None if it has other names."""
    if not {"normalize/scale", "normalize/offset"} <= tensors.keys():
        return None
    rules = []
    for name in tensors:
        found = NAME.fullmatch(name)
        if found:
            variables = NORMALIZATION if found["layer"].endswith("_bn") else CONVOLUTION
            index = int(found["index"])
            if index < len(variables):
                variable = variables[index]
                layout = kernel if variable == "kernel" else vector
                rules.append(Rule(name, found["layer"], variable, layout))
    layers = {rule.layer for rule in rules}
    backbone = backbone_of(layers)
    if backbone is None:
        return None
    vgg = BACKBONES[backbone]
    order = {layer: place for place, layer in enumerate((*vgg.names, *HEAD, "score_fr"))}
    rules.sort(key=lambda rule: order.get(rule.layer.removesuffix("_bn"), len(order)))
    trained = "score_fr" in layers
    return WeightsFile(
        "an FCN's weights" if trained else f"a converted {vgg.title}",
        tuple(rules),
        _normalization(tensors),
        pretrained=not trained,
        backbone=backbone,
        batch_norm="fc6_bn" in layers if trained else None,
        unused={"normalize/scale": "", "normalize/offset": ""},
    )


def _normalization(tensors: Mapping[str, np.ndarray]) -> Normalization | None:
    """The converter writes it; Keras doesn't, since it is part of a model's configuration."""
    scale, offset = tensors["normalize/scale"], tensors["normalize/offset"]
    if scale.shape != (3,) or offset.shape != (3,):
        return None
    return Normalization(tuple(scale.tolist()), tuple(offset.tolist()))
