"""Running trained models on photos."""

from fcn_keras.inference.compiled import bind
from fcn_keras.inference.segmentation import Segmentation
from fcn_keras.inference.segmenter import Segmenter
from fcn_keras.saving import load_model, num_classes

__all__ = ["Segmentation", "Segmenter", "bind", "load_model", "num_classes"]
