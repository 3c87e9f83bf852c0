"""The released PyTorch-FCN checkpoints, which hold the original Caffe models' weights.

Source: github.com/wkentaro/pytorch-fcn, ``torchfcn/models/fcn{32,16,8}s.py`` for the names, and
``torchfcn/datasets/voc.py`` for the pixels: blue, green, red in 0..255 minus the mean. FCN-8s
and FCN-8s at-once have the same names, so build the model with the right `at_once`.

The mean can't move into the first convolution's bias: the image is padded with zeros after the
mean was subtracted, so near the border the bias would count pixels that aren't there. Hence
the model's own normalisation takes the mean, and the convolution's input channels are reversed.
"""

from collections.abc import Mapping

import numpy as np

from fcn_keras.weights.rules import (
    VGG16,
    Rule,
    WeightsFile,
    minus,
    torch_bgr_kernel,
    torch_kernel,
    torch_rules,
)

MEAN_BGR = (104.00698793, 116.66876762, 122.67891434)

UPSCORES = {
    "upscore": "upscore32",
    "upscore2": "upscore2",
    "upscore16": "upscore16",
    "upscore_pool4": "upscore_pool4",
    "upscore8": "upscore8",
}
BACKBONE_RULES = tuple(
    rule
    for layer in VGG16
    for rule in torch_rules(
        layer.replace("block", "conv").replace("_conv", "_"),
        layer,
        torch_bgr_kernel if layer == "block1_conv1" else torch_kernel,
    )
)
RULES = (
    *BACKBONE_RULES,
    *(rule for name in ("fc6", "fc7", "score_fr") for rule in torch_rules(name, name)),
    *(rule for name in ("score_pool4", "score_pool3") for rule in torch_rules(name, name)),
    *(Rule(f"{name}.weight", layer, "kernel", torch_kernel) for name, layer in UPSCORES.items()),
)
REQUIRED = frozenset(rule.source for rule in BACKBONE_RULES) | {"fc6.weight", "score_fr.weight"}


def match(tensors: Mapping[str, np.ndarray]) -> WeightsFile | None:
    """The file as this format; None if it has other names."""
    if not tensors.keys() >= REQUIRED:
        return None
    return WeightsFile(
        "a PyTorch-FCN checkpoint",
        RULES,
        minus(*reversed(MEAN_BGR)),
        pretrained=False,
        batch_norm=False,
        caffe=True,
    )
