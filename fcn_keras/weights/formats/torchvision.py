"""torchvision's VGG16 (``vgg16-397923af.pth``), whole or with the convolutions only.

Source: ``torchvision/models/vgg.py``, configuration D without batch norm. ``features`` counts
convolutions, ReLUs and pools; ``classifier`` counts linear layers, ReLUs and dropouts. Files of the
same names that were trained on other normalisation (such as Caffe's) can't be told apart.
"""

from collections.abc import Mapping

import numpy as np

from fcn_keras.errors import InputError
from fcn_keras.weights.rules import (
    IMAGENET,
    TRUNK,
    Format,
    torch_linear,
    torch_linear_7x7,
    torch_rules,
)

FEATURES = (0, 2, 5, 7, 10, 12, 14, 17, 19, 21, 24, 26, 28)

TRUNK_RULES = tuple(
    rule
    for index, layer in zip(FEATURES, TRUNK, strict=True)
    for rule in torch_rules(f"features.{index}", layer)
)
RULES = (
    *TRUNK_RULES,
    *torch_rules("classifier.0", "fc6", torch_linear_7x7),
    *torch_rules("classifier.3", "fc7", torch_linear),
)
REQUIRED = frozenset(rule.source for rule in TRUNK_RULES)
UNUSED = dict.fromkeys(
    ("classifier.6.weight", "classifier.6.bias"), "scores of ImageNet's classes, not the model's"
)


def match(tensors: Mapping[str, np.ndarray]) -> Format | None:
    features = {name for name in tensors if name.startswith("features.")}
    if features != REQUIRED:
        return None
    bias = tensors.get("classifier.0.bias")
    if bias is not None and np.isnan(bias).any():
        # IMAGENET1K_FEATURES: convolutions that expect other pixels, and a classifier of NaN.
        raise InputError(
            "classifier.0.bias is NaN, as in torchvision's IMAGENET1K_FEATURES, which expects "
            "another normalisation; use vgg16-397923af.pth"
        )
    return Format("torchvision's VGG16", RULES, IMAGENET, pretrained=True, unused=UNUSED)
