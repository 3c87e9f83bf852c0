"""Keras' serialisation without an import of TensorFlow."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from keras.src.utils import module_utils


@contextlib.contextmanager
def without_tensorflow() -> Iterator[None]:
    """Lets Keras write or describe a model without importing TensorFlow.

    Where TensorFlow is installed, Keras imports it to find out whether a value is one of its
    shapes. That takes three seconds and 300 MB, and prints to standard error.
    """
    tensorflow = module_utils.tensorflow
    available, tensorflow._available = tensorflow._available, False
    try:
        yield
    finally:
        tensorflow._available = available
