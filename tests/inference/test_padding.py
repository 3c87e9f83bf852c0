import re

import keras
import numpy as np
import pytest

import fcn_keras
from fcn_keras import InputError
from fcn_keras.imagenet import MEAN_PIXEL
from fcn_keras.inference import Segmenter, bind
from fcn_keras.inference.padding import OUTSIDE, pad, runner


@pytest.mark.parametrize(
    ("options", "sizes"),
    [
        ({"at_once": True}, [(37, 53)]),
        pytest.param({"at_once": True}, [(96, 33), (1, 1)], marks=pytest.mark.slow),
        pytest.param({"batch_norm": True}, [(45, 64)], marks=pytest.mark.slow),
        pytest.param({"geometry": "caffe"}, [(37, 53), (1, 1)], marks=pytest.mark.slow),
    ],
)
def test_padding_changes_nothing(random_model, photo, change, options, sizes):
    model = random_model(**options)
    padded, exact = Segmenter(model, bucket=96), Segmenter(model, bucket=1)
    for size in sizes:
        assert change(exact.logits(photo(*size)), padded.logits(photo(*size))) < 1e-5


def test_the_mean_beyond_the_image_would_change_it(random_model, photo, change):
    """What the zeros are for: the same padding in the channel mean, without them."""
    model = random_model()
    plain = bind(model, lambda images: model(images, training=False))
    image = photo(37, 53)
    padded = np.asarray(plain(pad(image, 64, np.array(MEAN_PIXEL, np.uint8))[None]))[0, :37, :53]
    assert change(Segmenter(model, bucket=1).logits(image), padded) > 0.01


def test_a_model_with_other_layers_runs_on_the_mean():
    image = keras.Input((None, None, 3))
    model = keras.Model(image, keras.layers.Conv2D(5, 2)(image))
    _, fill = runner(model, 64)
    np.testing.assert_array_equal(fill, MEAN_PIXEL)


@pytest.mark.skipif(keras.backend.backend() != "jax", reason="others don't compile")
def test_programs_do_not_compute_sizes(random_model):
    """XLA would do so again for each layer, which doubled the time to load FCN-8s' program."""
    import jax

    run, _ = runner(random_model(), 64)
    program = str(jax.make_jaxpr(run)(np.zeros((1, 64, 64, 3), np.int16)))
    assert program.count("conv") > 15
    assert not re.search(r":i32\[[^]]*\] = (div|rem) ", program)


@pytest.mark.slow
def test_features_outside_do_not_win_a_pool_either(photo, change):
    """Without a ReLU in front all features can be negative, so that zero is no neutral value."""
    model = keras.Sequential(
        [
            keras.Input((None, None, 3)),
            keras.layers.Conv2D(
                5, 3, padding="same", bias_initializer=keras.initializers.Constant(-9)
            ),
            keras.layers.Rescaling(-1.0),
            keras.layers.MaxPooling2D(2, padding="same"),
            keras.layers.Conv2DTranspose(5, 4, strides=2, padding="same"),
        ]
    )
    image = photo(37, 53)
    exact = np.asarray(model(image[None]))[0, :37, :53]
    assert change(exact, Segmenter(model, bucket=64).logits(image)) < 1e-5


def test_the_mean_is_zero_once_normalised():
    normalize = fcn_keras.fcn8s(backbone_width=4, head_width=8).get_layer("normalize")
    half_a_gray_level = 0.5 / 255 / 0.224
    pixel = np.array(MEAN_PIXEL, "float32")[None, None, None]
    assert np.abs(normalize(pixel)).max() < half_a_gray_level


def test_pad_keeps_whole_multiples_and_the_image(photo):
    assert pad(np.zeros((64, 128, 3), np.uint8), 64, 0).shape == (64, 128, 3)
    padded = pad(photo(65, 1), 64, OUTSIDE)
    assert (padded.shape, padded.dtype) == ((128, 64, 3), np.int16)
    np.testing.assert_array_equal(padded[:65, :1], photo(65, 1))
    assert (padded[65:] == OUTSIDE).all()
    assert (padded[:, 1:] == OUTSIDE).all()
    assert pad(np.zeros((3, 3), np.uint8), 2, 255).dtype == np.uint8


def test_wrong_buckets_and_fixed_sizes_are_refused(random_model):
    model = random_model()
    with pytest.raises(InputError, match="bucket=0"):
        runner(model, 0)
    fixed = fcn_keras.fcn8s(5, backbone_width=4, head_width=8, input_shape=(None, 64, 3))
    with pytest.raises(InputError, match=r"fcn8s takes images of \(None, 64\) only"):
        runner(fixed, 32)
