"""The convolutions for CPUs against the stock layer in float64 and float32."""

from functools import partial

import jax
import jax.numpy as jnp
import keras
import numpy as np
import pytest

from fcn_keras import cpu
from fcn_keras.cpu import im2col, patches, winograd, winograd_bfloat16
from fcn_keras.models import convolution
from fcn_keras.models.convolution import Convolution


def stock(x, kernel):
    numbers = ("NHWC", "HWIO", "NHWC")
    return jax.lax.conv_general_dilated(x, kernel, (1, 1), "SAME", dimension_numbers=numbers)


@partial(jax.jit, static_argnums=0)
def outputs_and_gradients(function, x, kernel, probe):
    y, pull = jax.vjp(function, x, kernel)
    return {"output": y, **dict(zip(("input", "kernel"), pull(probe), strict=True))}


def assert_close(function, shape, filters, size, tolerance):
    """To `tolerance` times the range of what float64 gives."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=shape)
    kernel = rng.normal(size=(size, size, shape[-1], filters))
    probe = rng.normal(size=(*shape[:3], filters))
    with jax.enable_x64(True):
        expected = jax.tree.map(np.array, outputs_and_gradients(stock, x, kernel, probe))
    single = (jnp.asarray(a, "float32") for a in (x, kernel, probe))
    for part, ours in outputs_and_gradients(function, *single).items():
        assert ours.shape == expected[part].shape
        assert ours.dtype == np.float32
        scale = np.ptp(expected[part])
        np.testing.assert_allclose(
            ours, expected[part], rtol=0, atol=tolerance * scale, err_msg=part
        )


@pytest.mark.parametrize("shape", [(1, 1, 1, 3), (2, 9, 14, 8), (1, 8, 8, 64)])
def test_winograd_equals_the_direct_sum(shape):
    assert_close(winograd.convolve, shape, filters=6, size=3, tolerance=3e-6)


def test_winograd_transforms_are_exact_for_polynomials():
    """Products of two polynomials: degree 3 (4 outputs) times degree 2 has 6 coefficients."""
    rng = np.random.default_rng(0)
    tile, kernel = rng.normal(size=6), rng.normal(size=3)
    outputs = winograd.PRODUCTS @ ((winograd.KERNELS @ kernel) * (winograd.INPUTS @ tile))
    np.testing.assert_allclose(outputs, np.correlate(tile, kernel, "valid"), atol=1e-12)


@pytest.mark.parametrize("size", [1, 3, 5, 7])
@pytest.mark.parametrize("shape", [(1, 1, 1, 3), (2, 3, 8, 5), (1, 9, 7, 4)])
def test_im2col_equals_the_direct_sum(shape, size):
    assert_close(im2col.convolve, shape, filters=6, size=size, tolerance=2e-6)


@pytest.mark.parametrize("size", [1, 3, 7])
@pytest.mark.parametrize("shape", [(1, 1, 1, 3), (2, 9, 7, 5), (1, 8, 8, 64)])
def test_patches_round_their_operands_and_results_only(shape, size, monkeypatch):
    """To the half unit in the last of 8 binary places that a result of at most the range has.

    The truth is the direct sum in float64 of the rounded operands.
    """
    monkeypatch.setattr(patches, "_PATCHES", 20 * size * size * shape[3])  # several parts
    rng = np.random.default_rng(0)
    shapes = shape, (size, size, shape[3], 6), (*shape[:3], 6)
    half = [jnp.asarray(rng.normal(size=s), "bfloat16") for s in shapes]
    with jax.enable_x64(True):
        exact = outputs_and_gradients(stock, *(np.asarray(a, "float64") for a in half))
        exact = jax.tree.map(np.array, exact)
    for part, ours in outputs_and_gradients(patches.convolve, *half).items():
        assert ours.dtype == jnp.bfloat16
        assert ours.shape == exact[part].shape
        difference = np.asarray(ours, "float64") - exact[part]
        assert np.all(np.abs(difference) <= 2.0**-8 * np.abs(exact[part]) + 1e-5), part


@pytest.mark.parametrize("shape", [(1, 1, 1, 3), (2, 9, 14, 8), (1, 8, 8, 64), (3, 30, 5, 6)])
def test_winograd_in_bfloat16_is_near_the_direct_sum(shape, monkeypatch):
    """Within 2 % of the range, and 1 % of the standard deviation on the whole."""
    monkeypatch.setattr(winograd_bfloat16, "_VALUES", 2**10)  # several bands
    rng = np.random.default_rng(0)
    shapes = shape, (3, 3, shape[3], 6), (*shape[:3], 6)
    values = [rng.normal(size=s) for s in shapes]
    with jax.enable_x64(True):
        exact = jax.tree.map(np.array, outputs_and_gradients(stock, *values))
    x, kernel, probe = (jnp.asarray(a, t) for a, t in zip(values, TYPES, strict=True))
    ours = outputs_and_gradients(winograd_bfloat16.convolve, x, kernel, probe)
    assert (ours["output"].dtype, ours["input"].dtype) == ("bfloat16", "bfloat16")
    assert ours["kernel"].dtype == "float32"
    for part, expected in exact.items():
        assert ours[part].shape == expected.shape
        difference = np.asarray(ours[part], "float64") - expected
        assert np.abs(difference).max() < 0.02 * np.ptp(expected), part
        assert np.std(difference) < 0.01 * np.std(expected), part


TYPES = "bfloat16", "float32", "bfloat16"


@pytest.fixture
def fast(monkeypatch):
    """Which function `Convolution` took, with the thresholds out of the way."""
    monkeypatch.setattr(convolution, "_WINOGRAD_WEIGHTS", 1)
    monkeypatch.setattr(convolution, "_WINOGRAD_TILES", 1)
    monkeypatch.setattr(cpu, "multiplies_bfloat16", lambda: True)
    taken = []
    for module in (winograd, im2col, patches, winograd_bfloat16):

        def spy(x, kernel, original=module.convolve, name=module.__name__):
            taken.append(name.split(".")[-1])
            return original(x, kernel)

        monkeypatch.setattr(module, "convolve", spy)
    return taken


def both(x, *arguments, **options):
    """Outputs and gradients of ours and the stock layer with the same weights."""
    results = []
    rng = np.random.default_rng(0)
    pair = [kind(*arguments, **options) for kind in (Convolution, keras.layers.Conv2D)]
    for layer in pair:
        layer.build(x.shape)
    x = jnp.asarray(x)
    weights = [jnp.asarray(rng.normal(size=v.shape), "float32") for v in pair[1].weights]
    for layer in pair:

        @jax.jit
        def run(weights, x, layer=layer):
            y, pull = jax.vjp(lambda w, x: layer.stateless_call(w, [], x)[0], weights, x)
            kernel_and_bias, gradient = pull(jnp.ones_like(y))
            return [y, *kernel_and_bias, gradient]

        results.append(run(weights, x))
    return results


@pytest.mark.parametrize(
    ("kernel_size", "options", "path"),
    [
        (3, {"activation": "relu"}, ["winograd"]),
        (7, {"activation": "relu"}, ["im2col"]),
        (7, {"use_bias": False}, ["im2col"]),
        (1, {}, ["im2col"]),
        (1, {"padding": "valid"}, ["im2col"]),
        (4, {}, []),
        ((3, 5), {}, []),
        (3, {"strides": 2}, []),
        (3, {"dilation_rate": 2}, []),
        (3, {"padding": "valid"}, []),
        (3, {"groups": 2}, []),
    ],
    ids=str,
)
def test_equals_the_stock_layer(kernel_size, options, path, fast):
    x = np.random.default_rng(1).normal(size=(2, 5, 6, 4)).astype("float32")
    ours, theirs = both(x, 8, kernel_size, **{"padding": "same", **options})
    assert fast[:1] == path
    for part, expected in zip(ours, theirs, strict=True):
        assert part.shape == expected.shape
        np.testing.assert_allclose(part, expected, rtol=0, atol=1e-5 * np.ptp(expected))


@pytest.mark.skipif(cpu._jaxlib() < (0, 10, 1), reason="jaxlib can't compile it")
def test_mixed_precision_trains_float32_kernels(fast):
    """Inputs and outputs are bfloat16, the gradients of the float32 weights are float32."""
    x = np.random.default_rng(1).normal(size=(2, 5, 6, 4))
    mixed, exact = (
        both(jnp.asarray(x, dtype), 8, 3, padding="same", dtype=policy)[0]
        for dtype, policy in (("bfloat16", "mixed_bfloat16"), ("float32", "float32"))
    )
    assert fast[0] == "winograd_bfloat16"
    for part, expected in zip(mixed, exact, strict=True):
        np.testing.assert_allclose(part, expected, rtol=0, atol=0.01 * np.ptp(expected))
    assert [part.dtype for part in mixed] == ["bfloat16", "float32", "float32", "bfloat16"]


def test_open_shapes_use_the_stock_path(fast):
    keras.Sequential([keras.Input((None, None, 4)), Convolution(8, 3, padding="same")])
    assert fast == []


def test_the_path_depends_on_widths_map_and_processor(monkeypatch):
    x = np.zeros((2, 20, 20, 128), "float32")
    assert Convolution(64, 3, padding="same")._fast(x) is winograd.convolve
    assert Convolution(63, 3, padding="same")._fast(x) is None
    assert Convolution(64, 3, padding="same")._fast(x[:, :12]) is im2col.convolve  # 30 tiles
    assert Convolution(8, 1)._fast(x) is im2col.convolve
    assert Convolution(8, 7, padding="same")._fast(x) is im2col.convolve
    large = np.zeros((1, 74, 74, 128), "float32")  # 34 million values in patches
    assert Convolution(8, 7, padding="same")._fast(large) is None
    half = jnp.asarray(x, "bfloat16")
    monkeypatch.setattr(cpu, "multiplies_bfloat16", lambda: False)
    assert Convolution(64, 3, padding="same")._fast(half) is None
    monkeypatch.setattr(cpu, "multiplies_bfloat16", lambda: True)
    assert Convolution(64, 3, padding="same")._fast(half) is winograd_bfloat16.convolve
    assert Convolution(64, 3, padding="same")._fast(half[:, :12]) is patches.convolve
    assert Convolution(63, 3, padding="same")._fast(half) is None


def test_other_devices_use_the_stock_path(fast, monkeypatch):
    monkeypatch.setattr("fcn_keras.cpu.runtime.on_cpu", lambda: False)
    assert Convolution(8, 3, padding="same")._fast(np.zeros((1, 32, 32, 4), "float32")) is None


def test_saves_and_loads_with_the_stock_config():
    layer = Convolution(8, 3, padding="same", name="conv")
    twin = keras.layers.Conv2D(8, 3, padding="same", name="conv")
    assert layer.get_config() == twin.get_config()
    assert type(keras.layers.deserialize(keras.layers.serialize(layer))) is Convolution
