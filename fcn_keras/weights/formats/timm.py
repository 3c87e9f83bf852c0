"""timm's ``vgg16.tv_in1k``: torchvision's weights with the linear layers stored as convolutions.

Source: ``timm/models/vgg.py`` (``ConvMlp``) and the model's page on the Hugging Face hub.
"""

from collections.abc import Mapping

import numpy as np

from fcn_keras.weights.formats import torchvision
from fcn_keras.weights.rules import IMAGENET, Format, torch_rules

RULES = (
    *torchvision.TRUNK_RULES,
    *torch_rules("pre_logits.fc1", "fc6"),
    *torch_rules("pre_logits.fc2", "fc7"),
)
REQUIRED = frozenset(rule.source for rule in RULES)
UNUSED = dict.fromkeys(
    ("head.fc.weight", "head.fc.bias"), "scores of ImageNet's classes, not the model's"
)


def match(tensors: Mapping[str, np.ndarray]) -> Format | None:
    if not tensors.keys() >= REQUIRED:
        return None
    return Format("timm's VGG16", RULES, IMAGENET, pretrained=True, unused=UNUSED)
