"""timm's ``vgg16.tv_in1k`` and its other VGGs.

They are torchvision's weights with the linear layers stored as convolutions.

Source: ``timm/models/vgg.py`` (``ConvMlp``) and the model's page on the Hugging Face hub.
"""

import dataclasses
from collections.abc import Mapping

import numpy as np

from fcn_keras.weights.formats import torchvision
from fcn_keras.weights.rules import WeightsFile, torch_rules

CLASSIFIER = (*torch_rules("pre_logits.fc1", "fc6"), *torch_rules("pre_logits.fc2", "fc7"))
UNUSED = dict.fromkeys(
    ("head.fc.weight", "head.fc.bias"), "scores of ImageNet's classes, not the model's"
)


def match(tensors: Mapping[str, np.ndarray]) -> WeightsFile | None:
    """The file as this format; None if it has other names."""
    found = torchvision.match(tensors)
    if found is None or not tensors.keys() >= {rule.source for rule in CLASSIFIER}:
        return None
    features = found.rules[: -len(torchvision.CLASSIFIER)]
    return dataclasses.replace(
        found,
        title=found.title.replace("torchvision", "timm"),
        rules=(*features, *CLASSIFIER),
        unused={**found.unused, **UNUSED},
    )
