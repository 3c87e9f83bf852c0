import numpy as np
import pytest
from keras import ops

from fcn_keras.inference.tta import averaged


def softmax(logits):
    powers = np.exp(np.float64(logits))
    return powers / powers.sum(axis=-1, keepdims=True)


def brighter_to_the_right(images):
    """Logits that depend on the pixel and on where it is, unlike those of the mirror image."""
    columns = ops.arange(images.shape[2], dtype="float32")[None, None, :, None]
    return images / 50 * columns


@pytest.fixture
def images():
    return np.random.default_rng(0).integers(0, 256, (2, 3, 4, 3)).astype(np.uint8)


def test_flipping_averages_the_probabilities_of_both_views(images):
    x, columns = images / 50, np.arange(4)[:, None]
    expected = (softmax(x * columns) + softmax(x * columns[::-1])) / 2
    logits = averaged(brighter_to_the_right, flip=True, scales=(1,))(images)
    np.testing.assert_allclose(softmax(logits), expected, atol=1e-5)


def test_scales_run_the_model_at_other_sizes_and_return_to_the_images(images):
    seen = []

    def predict(views):
        seen.append(tuple(views.shape[1:3]))
        return views / 50

    flat = np.full_like(images, (10, 20, 30))
    logits = averaged(predict, flip=True, scales=(0.5, 1, 2))(flat)
    assert seen == [(2, 2), (2, 2), (3, 4), (3, 4), (6, 8), (6, 8)]
    np.testing.assert_allclose(softmax(logits), softmax(flat / 50), atol=1e-5)


@pytest.mark.parametrize("scale", [0.5, 0.75, 1.6])
def test_scaled_views_are_those_of_keras_resizing(images, scale):
    seen = []

    def predict(views):
        seen.append(np.array(views))
        return views / 50

    averaged(predict, flip=True, scales=(scale,))(images)
    size = [round(scale * side) for side in images.shape[1:3]]
    expected = ops.image.resize(np.float32(images), size, data_format="channels_last")
    np.testing.assert_allclose(seen[0], expected, atol=1e-3)
    np.testing.assert_allclose(seen[1], np.array(expected)[:, :, ::-1], atol=1e-3)
