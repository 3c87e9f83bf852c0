"""The networks' names, in a module of their own, so that reading options doesn't import Keras."""

from typing import Literal

ModelName = Literal["fcn32s", "fcn16s", "fcn8s"]
"""The networks, from the coarsest."""

Backbone = Literal["vgg13", "vgg16", "vgg16_bn", "vgg19"]
"""The classifiers that they are built on."""

Precision = Literal["float32", "bfloat16"]
"""What backbone, fc6 and fc7 compute in; weights, scores and logits are float32."""
