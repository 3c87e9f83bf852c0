"""The batch-norm variant of FCN-8s, ``fcn_vgg16``, as a PyTorch tutorial trains it.

Source of the names: the tutorial's state dict. A block's convolutions are at 0, 2, 4 of its layer,
with ReLUs between; each transposed convolution is followed by its normalisation.
"""

from collections.abc import Mapping

import numpy as np

from fcn_keras.weights.formats.torchvision import COUNTED
from fcn_keras.weights.rules import (
    COUNTER,
    IMAGENET,
    VGG16,
    WeightsFile,
    torch_batch_norm,
    torch_rules,
)

CONVOLUTIONS = {
    **{
        f"backbone.layer{name[5]}.{2 * (int(name[-1]) - 1)}": name  # block3_conv2 is layer3.2
        for name in VGG16
    },
    "head.fc6.0": "fc6",
    "head.fc7.0": "fc7",
    "layer5_conv": "score_fr",
    "layer4_conv": "score_pool4",
    "layer3_conv": "score_pool3",
    "transpose_conv1.0": "upscore2",
    "transpose_conv2.0": "upscore_pool4",
    "transpose_conv3.0": "upscore8",
}
NORMALIZATIONS = {
    "head.fc6.1": "fc6_bn",
    "head.fc7.1": "fc7_bn",
    "transpose_conv1.1": "upscore2_bn",
    "transpose_conv2.1": "upscore_pool4_bn",
    "transpose_conv3.1": "upscore8_bn",
}
RULES = (
    *(rule for name, layer in CONVOLUTIONS.items() for rule in torch_rules(name, layer)),
    *(rule for name, layer in NORMALIZATIONS.items() for rule in torch_batch_norm(name, layer)),
)
REQUIRED = frozenset(rule.source for rule in RULES)
UNUSED = {f"{name}.{COUNTER}": COUNTED for name in NORMALIZATIONS}


def match(tensors: Mapping[str, np.ndarray]) -> WeightsFile | None:
    """The file as this format; None if it has other names."""
    if not tensors.keys() >= REQUIRED:
        return None
    return WeightsFile(
        "a batch-norm FCN-8s", RULES, IMAGENET, pretrained=False, batch_norm=True, unused=UNUSED
    )
