"""torchvision's VGGs (``vgg16-397923af.pth``), whole or with the convolutions only.

Source: ``torchvision/models/vgg.py``. ``features`` counts convolutions, batch normalisations, ReLUs
and pools; ``classifier`` counts linear layers, ReLUs and dropouts. Files of the same names that
were trained with another normalisation (such as Caffe's) can't be told apart.
"""

from collections.abc import Iterator, Mapping

import numpy as np

from fcn_keras.errors import InputError
from fcn_keras.models.vgg import BACKBONES, VGG
from fcn_keras.weights.rules import (
    COUNTER,
    IMAGENET,
    Rule,
    WeightsFile,
    torch_batch_norm,
    torch_linear,
    torch_linear_7x7,
    torch_rules,
)

CLASSIFIER = (
    *torch_rules("classifier.0", "fc6", torch_linear_7x7),
    *torch_rules("classifier.3", "fc7", torch_linear),
)
UNUSED = dict.fromkeys(
    ("classifier.6.weight", "classifier.6.bias"), "scores of ImageNet's classes, not the model's"
)
COUNTED = "a counter that no output depends on"


def feature_rules(vgg: VGG) -> tuple[Rule, ...]:
    """The rules for ``features``.

    >>> [rule.source for rule in feature_rules(BACKBONES["vgg16"])[-2:]]
    ['features.28.weight', 'features.28.bias']
    """
    return tuple(_feature_rules(vgg))


def _feature_rules(vgg: VGG) -> Iterator[Rule]:
    index = 0
    for block in vgg.blocks:
        for layer in block:
            yield from torch_rules(f"features.{index}", layer)
            if vgg.batch_norm:
                index += 1
                yield from torch_batch_norm(f"features.{index}", f"{layer}_bn")
            index += 2  # itself, and the ReLU
        index += 1  # the pool


def match(tensors: Mapping[str, np.ndarray]) -> WeightsFile | None:
    """The file as this format; None if it has other names."""
    features = {name for name in tensors if name.startswith("features.")}
    counters = {name for name in features if name.endswith(COUNTER)}
    rules = {name: feature_rules(vgg) for name, vgg in BACKBONES.items()}
    needed = {name: {rule.source for rule in its} for name, its in rules.items()}
    backbone = next((name for name in BACKBONES if needed[name] == features - counters), None)
    if backbone is None:
        return None
    bias = tensors.get("classifier.0.bias")
    if bias is not None and np.isnan(bias).any():
        # IMAGENET1K_FEATURES: convolutions that expect other pixels, and a classifier of NaN.
        raise InputError(
            "classifier.0.bias is NaN, as in torchvision's IMAGENET1K_FEATURES, which expects "
            "another normalisation; use vgg16-397923af.pth"
        )
    return WeightsFile(
        f"torchvision's {BACKBONES[backbone].title}",
        (*rules[backbone], *CLASSIFIER),
        IMAGENET,
        pretrained=True,
        backbone=backbone,
        unused=UNUSED | dict.fromkeys(counters, COUNTED),
    )
