import keras
import numpy as np
import pytest

from fcn_keras import models


def randomize(model):
    random = np.random.default_rng(1)
    for layer in model.layers:
        if isinstance(layer, keras.layers.Conv2D):
            for variable in layer.weights:
                scale = 0.5 if variable.ndim == 1 else np.sqrt(2 / np.prod(variable.shape[:3]))
                variable.assign(random.normal(scale=scale, size=variable.shape))
    return model


@pytest.fixture(scope="session")
def randomized():
    """A model with all its weights made random, biases too: so padding has features of its own."""
    return randomize


@pytest.fixture(scope="session")
def random_model():
    def build(name="fcn8s", **options):
        builder = getattr(models, name)
        return randomize(builder(5, backbone_width=4, head_width=8, **options))

    return build


@pytest.fixture(scope="session")
def photo():
    def make(height, width):
        return np.random.default_rng(height).integers(0, 256, (height, width, 3), np.uint8)

    return make


@pytest.fixture(scope="session")
def change():
    """The largest difference of two results as a share of the first one's range."""
    return lambda exact, other: np.abs(exact - other).max() / np.ptp(exact)
