"""Upsampling against closed forms, `jax.image.resize` and the stock layer."""

import functools

import jax
import keras
import numpy as np
import pytest

from fcn_keras.errors import InputError
from fcn_keras.models.layers import Bilinear, Crop, Upsample

STRIDES = (2, 8, 16, 32)


def upsampler(classes, stride, padding="same", **options):
    options = {"kernel_initializer": Bilinear(), "use_bias": False, **options}
    return Upsample(classes, 2 * stride, strides=stride, padding=padding, **options)


def interpolated(x, position):
    """Linear interpolation of the sequence `x` at a real `position`, zero outside it."""
    left = int(np.floor(position))
    at = [x[i] if 0 <= i < len(x) else 0.0 for i in (left, left + 1)]
    return at[0] + (position - left) * (at[1] - at[0])


@pytest.mark.parametrize("size", [1, 2, 3, 4, 5, 16, 32, 64])
def test_bilinear_kernel_is_caffes_formula(size):
    factor = (size + 1) // 2
    centre = factor - 1 if size % 2 else factor - 0.5
    kernel = np.asarray(Bilinear()((size, size, 3, 3)))
    for y in range(size):
        for x in range(size):
            weight = (1 - abs(y - centre) / factor) * (1 - abs(x - centre) / factor)
            np.testing.assert_allclose(kernel[y, x], weight * np.eye(3), atol=1e-7)


def test_bilinear_kernel_needs_as_many_filters_as_inputs():
    with pytest.raises(InputError, match=r"as many filters as inputs, got \(4, 4, 2, 3\)"):
        Bilinear()((4, 4, 2, 3))


@pytest.mark.parametrize("stride", STRIDES)
def test_frozen_upsampling_is_linear_resize_inside_the_border(stride):
    x = np.random.default_rng(0).normal(size=(2, 4, 5, 3)).astype("float32")
    y = np.asarray(upsampler(3, stride)(x))
    resized = jax.image.resize(x, (2, 4 * stride, 5 * stride, 3), "linear")
    border = slice(stride // 2, -(stride // 2))
    np.testing.assert_allclose(y[:, border, border], resized[:, border, border], atol=2e-6)


@pytest.mark.parametrize("stride", STRIDES)
def test_frozen_upsampling_interpolates_between_pixel_centres(stride):
    """At the border too: beyond it the map is zero."""
    x = np.random.default_rng(1).normal(size=3).astype("float32")
    plane = np.outer(x, [1, 2]).astype("float32")[None, :, :, None]
    y = np.asarray(upsampler(1, stride)(plane))[0, :, :, 0]
    centres = [(i + 0.5) / stride - 0.5 for i in range(3 * stride)]
    rows = [interpolated(x, c) for c in centres]
    columns = [interpolated([1, 2], c) for c in centres[: 2 * stride]]
    np.testing.assert_allclose(y, np.outer(rows, columns), atol=1e-6)


@pytest.mark.parametrize("padding", ["same", "valid"])
@pytest.mark.parametrize("stride", STRIDES)
def test_an_impulse_comes_out_where_it_went_in(stride, padding):
    """Sample (i, j) is the middle of a block of pixels; unpadded output starts s / 2 earlier."""
    x = np.zeros((1, 5, 6, 2), "float32")
    x[0, 3, 1, 1] = 1
    y = np.asarray(upsampler(2, stride, padding)(x))[0]
    shift = 0 if padding == "same" else stride // 2
    assert y.shape == (5 * stride + 2 * shift, 6 * stride + 2 * shift, 2)
    assert not y[..., 0].any()
    assert y[..., 1].sum() == pytest.approx(stride**2, rel=1e-5)
    for axis, sample in ((0, 3), (1, 1)):
        line = y[..., 1].sum(axis=1 - axis)
        centre = (line * np.arange(len(line))).sum() / line.sum() - shift
        assert centre == pytest.approx(stride * sample + (stride - 1) / 2, abs=1e-3)


@pytest.mark.parametrize(
    "size", [(3, 5), *(pytest.param(s, marks=pytest.mark.slow) for s in ((1, 1), (7, 4)))]
)
@pytest.mark.parametrize("padding", ["same", "valid"])
@pytest.mark.parametrize("stride", STRIDES)
def test_equals_the_stock_layer_forward_and_backward(stride, padding, size):
    rng = np.random.default_rng(stride)
    options = {"strides": stride, "padding": padding, "bias_initializer": "random_normal"}
    fast = Upsample(3, 2 * stride, **options)
    stock = keras.layers.Conv2DTranspose(3, 2 * stride, **options)
    x = rng.normal(size=(2, *size, 4)).astype("float32")
    for layer in (fast, stock):
        layer.build(x.shape)
    weights = [rng.normal(size=v.shape).astype("float32") for v in stock.weights]
    probe = rng.normal(size=stock.compute_output_shape(x.shape)).astype("float32")

    @functools.partial(jax.jit, static_argnums=0)
    def output_and_gradients(layer):
        y, pull = jax.vjp(lambda w, x: layer.stateless_call(w, [], x)[0], weights, x)
        (kernel, bias), image = pull(probe)
        return {"output": y, "kernel": kernel, "bias": bias, "input": image}

    ours, theirs = output_and_gradients(fast), output_and_gradients(stock)
    for part, expected in theirs.items():
        assert ours[part].shape == expected.shape
        scale = np.ptp(expected)
        np.testing.assert_allclose(ours[part], expected, atol=1e-5 * scale, err_msg=part)


@pytest.mark.parametrize(
    "options",
    [
        {"kernel_size": 3, "strides": 2},
        {"kernel_size": 3, "strides": 1},
        {"kernel_size": 4, "strides": 2, "activation": "relu"},
        {"kernel_size": (4, 8), "strides": (2, 4)},
    ],
    ids=str,
)
def test_equals_the_stock_layer_with_other_options(options):
    x = np.random.default_rng(0).normal(size=(1, 4, 5, 2)).astype("float32")
    for padding in ("same", "valid"):
        fast, stock = (
            layer(3, padding=padding, **options)
            for layer in (Upsample, keras.layers.Conv2DTranspose)
        )
        stock.build(x.shape)
        fast.build(x.shape)
        for ours, theirs in zip(fast.weights, stock.weights, strict=True):
            ours.assign(theirs.value)
        np.testing.assert_allclose(fast(x), stock(x), atol=1e-6)


def test_crop_cuts_from_its_offset():
    x = np.arange(2 * 7 * 8).reshape(2, 7, 8, 1).astype("float32")
    reference = np.zeros((2, 3, 5, 9), "float32")
    np.testing.assert_array_equal(Crop(2)(x, reference), x[:, 2:5, 2:7])
    assert Crop(2).compute_output_shape(x.shape, reference.shape) == (2, 3, 5, 1)
