import keras
import numpy as np
import pytest

import fcn_keras
from fcn_keras import InputError
from fcn_keras.imagenet import MEAN_PIXEL
from fcn_keras.inference import Segmenter, bind
from fcn_keras.inference.padding import OUTSIDE, pad, runner


def random_model(**options):
    """Every weight random, biases too, so that padding has features of its own."""
    model = fcn_keras.fcn8s(5, backbone_width=4, head_width=8, **options)
    random = np.random.default_rng(1)
    for layer in model.layers:
        if isinstance(layer, keras.layers.Conv2D):
            for variable in layer.weights:
                scale = 0.5 if variable.ndim == 1 else np.sqrt(2 / np.prod(variable.shape[:3]))
                variable.assign(random.normal(scale=scale, size=variable.shape))
    return model


def photo(height, width):
    return np.random.default_rng(height).integers(0, 256, (height, width, 3), np.uint8)


def change(exact, other):
    return np.abs(exact - other).max() / np.ptp(exact)


@pytest.mark.parametrize(
    ("options", "sizes"),
    [({"at_once": True}, [(37, 53), (96, 33), (1, 1)]), ({"batch_norm": True}, [(45, 64)])],
)
def test_padding_changes_nothing(options, sizes):
    model = random_model(**options)
    padded, exact = Segmenter(model, bucket=96), Segmenter(model, bucket=1)
    for size in sizes:
        assert change(exact.logits(photo(*size)), padded.logits(photo(*size))) < 1e-5


def test_the_mean_beyond_the_image_would_change_it():
    """What the twin is for: the same padding in the channel mean, without it."""
    model = random_model()
    plain = bind(model, lambda predict, images: predict(images))
    image = photo(37, 53)
    padded = np.asarray(plain(pad(image, 64, np.array(MEAN_PIXEL, np.uint8))[None]))[0, :37, :53]
    assert change(Segmenter(model, bucket=1).logits(image), padded) > 0.01


def test_the_original_geometry_runs_on_the_mean():
    model = random_model(geometry="caffe")
    padded, fill = runner(model, 64)
    assert padded is model
    np.testing.assert_array_equal(fill, MEAN_PIXEL)


def test_the_twin_shares_the_weights():
    model = random_model()
    padded, fill = runner(model, 32)
    assert fill == OUTSIDE
    assert [id(v) for v in padded.variables] == [id(v) for v in model.variables]
    assert runner(model, 1)[0] is model


def test_the_mean_is_zero_once_normalised():
    normalize = fcn_keras.fcn8s(backbone_width=4, head_width=8).get_layer("normalize")
    half_a_gray_level = 0.5 / 255 / 0.224
    pixel = np.array(MEAN_PIXEL, "float32")[None, None, None]
    assert np.abs(normalize(pixel)).max() < half_a_gray_level


def test_pad_keeps_whole_multiples_and_the_image():
    assert pad(np.zeros((64, 128, 3), np.uint8), 64, 0).shape == (64, 128, 3)
    padded = pad(photo(65, 1), 64, OUTSIDE)
    assert (padded.shape, padded.dtype) == ((128, 64, 3), np.int16)
    np.testing.assert_array_equal(padded[:65, :1], photo(65, 1))
    assert (padded[65:] == OUTSIDE).all()
    assert (padded[:, 1:] == OUTSIDE).all()
    assert pad(np.zeros((3, 3), np.uint8), 2, 255).dtype == np.uint8


def test_wrong_buckets_and_fixed_sizes_are_refused():
    model = random_model()
    with pytest.raises(InputError, match="bucket=0"):
        runner(model, 0)
    fixed = fcn_keras.fcn8s(5, backbone_width=4, head_width=8, input_shape=(None, 64, 3))
    with pytest.raises(InputError, match=r"fcn8s takes images of \(None, 64\) only"):
        runner(fixed, 32)
