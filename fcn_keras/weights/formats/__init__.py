"""Name maps, one module per format; each recognises its files by the names they hold."""

from collections.abc import Mapping

import numpy as np

from fcn_keras.errors import InputError
from fcn_keras.weights.formats import (
    batch_norm,
    keras_vgg16,
    pytorch_fcn,
    timm,
    torchvision,
    weights_h5,
)
from fcn_keras.weights.rules import WeightsFile

# timm's file has other names besides torchvision's, so it comes first.
FORMATS = (timm, torchvision, pytorch_fcn, batch_norm, weights_h5, keras_vgg16)
KNOWN = (
    "torchvision's or timm's VGGs, PyTorch-FCN, the batch-norm fcn_vgg16, Keras' VGGs and "
    "converted .weights.h5"
)


def recognise(tensors: Mapping[str, np.ndarray]) -> WeightsFile:
    """The format whose names the tensors have.

    Raises:
        InputError: none has them; the message lists what is there and what is known.
    """
    for module in FORMATS:
        found = module.match(tensors)
        if found is not None:
            return found
    first = ", ".join(ascii(name)[1:-1][:60] for name in list(tensors)[:4])
    first += ", ..." if len(tensors) > 4 else ""
    raise InputError(
        f"holds {len(tensors)} tensors ({first}) of no known network; known are {KNOWN}"
    )
