"""One model file means the same under every backend, and to Keras alone."""

import importlib.util
import os
import subprocess
import sys

import keras
import numpy as np
import pytest

import fcn_keras
from fcn_keras.data.classes import SHAPES, VOID
from fcn_keras.evaluation import Evaluator
from fcn_keras.inference import Segmenter

# Keras copies its variables in a way that NumPy 2 wants spelled differently.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation doesn't accept a copy")

PLAIN_KERAS = """
import sys
import fcn_keras, keras, numpy as np
folder = sys.argv[1]
image = np.load(folder + "/image.npy")
model = keras.models.load_model(folder + "/model.keras")
np.save(folder + "/logits.npy", keras.ops.convert_to_numpy(model(image[None], training=False))[0])
model.save(folder + "/again.keras")
"""
# The library's own ways to run a model, on a data set of one image.
LIBRARY = (
    PLAIN_KERAS
    + """
from fcn_keras.evaluation import Evaluator
class Source(list):
    classes, ids = fcn_keras.data.classes.SHAPES, ("one",)
source = Source([(image, np.load(folder + "/mask.npy"))])
scores = Evaluator(model, bucket=32).run(source)
averaged = Evaluator(model, bucket=32, flip=True, scales=(0.5, 1)).run(source)
np.save(folder + "/scores.npy", [scores.loss, averaged.loss, *scores.iou])
np.save(folder + "/classes.npy", fcn_keras.Segmenter(folder + "/model.keras", bucket=32)(image))
"""
)


INFO = fcn_keras.ModelInfo(classes=SHAPES, recipe="shapes", scores={"mean_iou": 0.25})


class Source(list):
    classes, ids = SHAPES, ("one",)


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    """A folder with a model, an image and a mask, and what they give under JAX."""
    folder = tmp_path_factory.mktemp("saved")
    model = fcn_keras.fcn8s(6, backbone_width=4, head_width=8)
    random = np.random.default_rng(4)
    for name in ("score_fr", "score_pool4", "score_pool3"):
        for variable in model.get_layer(name).weights:
            variable.assign(random.normal(size=variable.shape))
    image = random.integers(0, 256, (37, 53, 3), np.uint8)
    mask = random.choice([0, 1, 2, 3, 4, 5, VOID], (37, 53)).astype(np.uint8)
    np.save(folder / "image.npy", image)
    np.save(folder / "mask.npy", mask)
    fcn_keras.annotate(model, INFO)
    model.save(folder / "model.keras")
    return folder, model, image, mask


def run(script, folder, backend):
    environment = {**os.environ, "KERAS_BACKEND": backend, "TF_CPP_MIN_LOG_LEVEL": "2"}
    command = [sys.executable, "-c", script, str(folder)]
    result = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr


def assert_same(ours, theirs):
    assert ours.shape == theirs.shape
    assert np.abs(ours - theirs).max() < 1e-4 * np.ptp(ours)


@pytest.mark.slow
def test_keras_loads_the_file_in_a_fresh_process(saved):
    folder, _, image, _ = saved
    run(PLAIN_KERAS, folder, "jax")
    logits = Segmenter(folder / "model.keras", bucket=1).logits(image)
    assert_same(logits, np.load(folder / "logits.npy"))
    assert fcn_keras.describe(keras.models.load_model(folder / "again.keras")) == INFO


@pytest.mark.slow
@pytest.mark.parametrize(
    "backend",
    [
        pytest.param("tensorflow", marks=pytest.mark.tf),
        pytest.param("torch", marks=pytest.mark.torch),
    ],
)
def test_other_backends_compute_the_same(saved, backend):
    if importlib.util.find_spec(backend) is None:
        pytest.skip(f"{backend} is not installed")
    folder, model, image, mask = saved
    run(LIBRARY, folder, backend)
    assert_same(Segmenter(model, bucket=1).logits(image), np.load(folder / "logits.npy"))
    ours = Segmenter(model, bucket=32)(image)
    assert (ours != np.load(folder / "classes.npy")).mean() < 1e-3
    source = Source([(image, mask)])
    scores = Evaluator(model, bucket=32).run(source)
    averaged = Evaluator(model, bucket=32, flip=True, scales=(0.5, 1)).run(source)
    assert fcn_keras.describe(keras.models.load_model(folder / "again.keras")) == INFO
    expected = [scores.loss, averaged.loss, *scores.iou]
    np.testing.assert_allclose(np.load(folder / "scores.npy"), expected, atol=2e-3)


@pytest.mark.slow
def test_a_loaded_model_trains_with_compile_and_fit(saved):
    folder, _, _, _ = saved
    model = keras.models.load_model(folder / "model.keras")
    random = np.random.default_rng(0)
    images = random.integers(0, 256, (2, 32, 32, 3)).astype(np.float32)
    masks = (images.mean(axis=-1) > 128).astype(np.uint8)
    masks[:, :8] = VOID
    model.compile(
        keras.optimizers.Adam(0.01),
        keras.losses.SparseCategoricalCrossentropy(from_logits=True, ignore_class=VOID),
    )
    frozen = np.array(model.get_layer("upscore8").kernel.value)
    losses = model.fit(images, masks, batch_size=2, epochs=15, verbose=0).history["loss"]
    assert losses[-1] < 0.5 * losses[0]
    np.testing.assert_array_equal(np.array(model.get_layer("upscore8").kernel.value), frozen)
