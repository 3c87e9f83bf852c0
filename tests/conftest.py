"""Fixtures that every room's tests share."""

import os

os.environ.setdefault("KERAS_BACKEND", "jax")
os.environ.setdefault("NO_ALBUMENTATIONS_UPDATE", "1")

import tempfile
from pathlib import Path

import pytest

# Many tests, and the processes they start, compile the same small programs.
_CACHE = tempfile.TemporaryDirectory(prefix="fcn-keras-jit-")
os.environ.setdefault("JAX_COMPILATION_CACHE_DIR", _CACHE.name)
os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0.1")

SHARED = Path(__file__).parents[2] / "shared"


def _existing(path: Path) -> Path:
    if not path.exists():
        pytest.skip(f"{path} is not on this machine")
    return path


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder that holds VOC2012/ and CamVid/ (``FCN_KERAS_DATA`` names another one)."""
    return _existing(Path(os.environ.get("FCN_KERAS_DATA", SHARED / "data")))


@pytest.fixture(scope="session")
def shared_weights() -> Path:
    """torchvision's VGG16 convolutions, in torch's legacy file format."""
    return _existing(SHARED / "weights" / "vgg16-torchvision-features.pth")
