"""Imports without what nothing here needs of them."""

from __future__ import annotations

import contextlib
import importlib
import os
import sys
from collections.abc import Iterator
from types import ModuleType


@contextlib.contextmanager
def without(*packages: str) -> Iterator[None]:
    """Imports in this context find `packages` not installed, unless they were imported before.

    Libraries import them where they are installed, for features that are not used here.
    """
    hidden = set(packages) - sys.modules.keys()
    sys.modules.update(dict.fromkeys(hidden))  # type: ignore[arg-type]
    try:
        yield
    finally:
        for name in hidden:
            del sys.modules[name]


@contextlib.contextmanager
def without_tensorflow() -> Iterator[None]:
    """Lets Keras write or describe a model without importing TensorFlow.

    Where TensorFlow is installed, Keras imports it to find out whether a value is one of its
    shapes. That takes three seconds and 300 MB, and prints to standard error.
    """
    from keras.src.utils import module_utils  # Keras itself is imported by way of `without`

    tensorflow = module_utils.tensorflow
    available, tensorflow._available = tensorflow._available, False
    try:
        yield
    finally:
        tensorflow._available = available


def import_albumentations() -> ModuleType:
    """Imports albumentations without its look for updates online."""
    os.environ.setdefault("NO_ALBUMENTATIONS_UPDATE", "1")
    return importlib.import_module("albumentations")
