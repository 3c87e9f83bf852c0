"""FCN-32s, FCN-16s and FCN-8s semantic segmentation for Keras 3 on JAX.

Importing this package registers its layers, so that ``keras.models.load_model`` reads the models
trained with it. It asks Keras for the JAX backend unless ``KERAS_BACKEND`` names another one or
Keras was imported before.
"""

import os

os.environ.setdefault("KERAS_BACKEND", "jax")

from fcn_keras.errors import InputError
from fcn_keras.inference import Segmentation, Segmenter
from fcn_keras.models import init_from
from fcn_keras.pretrained import fcn8s, fcn16s, fcn32s, load_model
from fcn_keras.saving import ModelInfo, annotate, describe
from fcn_keras.version import __version__ as __version__
from fcn_keras.weights import load_weights

__all__ = [
    "InputError",
    "ModelInfo",
    "Segmentation",
    "Segmenter",
    "annotate",
    "describe",
    "fcn8s",
    "fcn16s",
    "fcn32s",
    "init_from",
    "load_model",
    "load_weights",
]
