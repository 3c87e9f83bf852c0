import keras
import numpy as np
import pytest
from PIL import Image

import fcn_keras
from fcn_keras.data.classes import SHAPES


def random_scores(model):
    """Gives every layer whose initial values would hide a mistake others."""
    random = np.random.default_rng(2)
    for layer in model.layers:
        if (layer.name.startswith(("score", "upscore")) and layer.trainable) or "_bn" in layer.name:
            for variable in layer.weights:
                values = random.normal(size=variable.shape)
                variable.assign(np.abs(values) + 0.5 if "variance" in variable.path else values)
    return model


@pytest.fixture(scope="package")
def build():
    def build(builder=fcn_keras.fcn8s, seed=1, **options):
        keras.utils.set_random_seed(seed)
        return random_scores(builder(6, **{"backbone_width": 4, "head_width": 8, **options}))

    return build


@pytest.fixture(scope="package")
def model(build):
    model = build()
    info = fcn_keras.ModelInfo(classes=SHAPES, recipe="shapes", max_side=64)
    fcn_keras.annotate(model, info)
    return model


@pytest.fixture(scope="package")
def photo(tmp_path_factory):
    """A file of noise, of 37x53 pixels."""
    path = tmp_path_factory.mktemp("photo") / "noise.png"
    pixels = np.random.default_rng(5).integers(0, 256, (37, 53, 3), np.uint8)
    Image.fromarray(pixels).save(path)
    return path
