"""Our own files: ``.keras`` models and compact ones."""

from fcn_keras.saving.compact import load_compact, save_compact
from fcn_keras.saving.info import ModelInfo, annotate, describe, max_side_of, package_version
from fcn_keras.saving.loading import load_model, num_classes

__all__ = [
    "ModelInfo",
    "annotate",
    "describe",
    "load_compact",
    "load_model",
    "max_side_of",
    "num_classes",
    "package_version",
    "save_compact",
]
