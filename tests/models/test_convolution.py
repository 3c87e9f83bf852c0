"""The convolutions for CPUs against the stock layer in float64 and float32."""

import itertools
from functools import partial

import jax
import jax.numpy as jnp
import keras
import numpy as np
import pytest

from fcn_keras import cpu
from fcn_keras.cpu import bfloat16, im2col, taps, winograd, winograd_rows
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


@pytest.mark.parametrize("shape", [(1, 1, 1, 3), (2, 9, 14, 8), (1, 8, 8, 64)])
@pytest.mark.parametrize("band", [2**22, 300])
def test_winograd_along_the_rows_equals_the_direct_sum(shape, band, monkeypatch):
    monkeypatch.setattr(winograd_rows, "_BAND", band)  # the second makes 1, 8 and 8 bands
    assert_close(winograd_rows.convolve, shape, filters=6, size=3, tolerance=3e-6)


@pytest.mark.parametrize("size", [1, 3, 5, 7])
@pytest.mark.parametrize("shape", [(1, 1, 1, 3), (2, 3, 8, 5), (1, 9, 7, 4)])
def test_taps_and_patches_equal_the_direct_sum(shape, size):
    by_taps = partial(taps.convolve, border=size // 2)
    assert_close(by_taps, shape, filters=6, size=size, tolerance=2e-6)
    assert_close(im2col.convolve, shape, filters=6, size=size, tolerance=2e-6)


@pytest.mark.parametrize("border", [0, 1, 3])
@pytest.mark.parametrize("shape", [(1, 7, 7, 1), (1, 5, 9, 1), (1, 2, 7, 1)])
def test_taps_meet_what_is_on_the_map_and_nothing_else(shape, border):
    height, width = shape[1:3]
    expected = {
        ((i, j), (y, x), (y + i - border, x + j - border))
        for i, j in itertools.product(range(7), repeat=2)
        for y, x in itertools.product(*(range(n + 2 * border - 6) for n in (height, width)))
        if 0 <= y + i - border < height and 0 <= x + j - border < width
    }

    def pixels(spans):
        return itertools.product(*(range(span.start, span.stop) for span in spans[1:]))

    found = [
        (tap, *pair)
        for tap, outputs, inputs in taps._taps(shape, 7, border)
        for pair in zip(pixels(outputs), pixels(inputs), strict=True)
    ]
    assert len(found) == len(set(found)) and set(found) == expected
    if (shape, border) == ((1, 7, 7, 1), 3):
        assert len(found) == 37**2  # of 49**2


@pytest.fixture
def fast(monkeypatch):
    """Which function `Convolution` took, with the thresholds out of the way."""
    values = {"_WEIGHTS": 1, "_TILES": 1, "_NARROW": 4 * 8, "_WEIGHTS_OF_LARGE": 4 * 8}
    for name, value in values.items():
        monkeypatch.setattr(convolution, name, value)
    taken = []
    for module in (winograd, winograd_rows, taps, im2col, bfloat16):

        def spy(*arguments, original=module.convolve, name=module.__name__, **options):
            taken.append(name.split(".")[-1])
            return original(*arguments, **options)

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
        (3, {"activation": "relu"}, ["winograd_rows"]),
        (3, {"filters": 9, "activation": "relu"}, ["winograd"]),
        (7, {"activation": "relu"}, ["taps"]),
        (7, {"use_bias": False}, ["taps"]),
        (7, {"filters": 3}, ["im2col"]),
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
    options = {"filters": 8, "kernel_size": kernel_size, "padding": "same", **options}
    ours, theirs = both(x, **options)
    assert fast[:1] == path
    for part, expected in zip(ours, theirs, strict=True):
        assert part.shape == expected.shape
        np.testing.assert_allclose(part, expected, rtol=0, atol=1e-5 * np.ptp(expected))


@pytest.mark.parametrize(
    ("kernel_size", "options"),
    [
        (3, {"activation": "relu"}),
        (3, {"activation": "softplus"}),
        (7, {"activation": "relu"}),
        (3, {"padding": "valid"}),
        (3, {"use_bias": False}),
        (1, {}),
    ],
    ids=str,
)
def test_mixed_precision_trains_float32_kernels(kernel_size, options, fast):
    """Inputs and outputs are bfloat16, the gradients of the float32 weights are float32."""
    x = np.random.default_rng(1).normal(size=(2, 9, 8, 4))
    mixed, exact = (
        both(jnp.asarray(x, dtype), 8, kernel_size, **{"padding": "same", **options}, dtype=policy)
        for dtype, policy in (("bfloat16", "mixed_bfloat16"), ("float32", "float32"))
    )
    assert ("bfloat16" in fast) is cpu.multiplies_bfloat16()
    # Where rounding takes a sum across zero, ReLU lets another gradient through.
    compared = 1 if options.get("activation") == "relu" else None
    for part, expected in zip(mixed[0][:compared], exact[1][:compared], strict=True):
        np.testing.assert_allclose(part, expected, rtol=0, atol=0.01 * np.ptp(expected))
    variables = 1 if "use_bias" in options else 2
    types = ["bfloat16", *["float32"] * variables, "bfloat16"]
    assert [part.dtype for part in mixed[0]] == types
    if cpu.multiplies_bfloat16():  # by oneDNN; of XLA they are rounded
        assert np.any(mixed[0][1] != mixed[0][1].astype("bfloat16"))


def test_open_shapes_use_the_stock_path(fast):
    keras.Sequential([keras.Input((None, None, 4)), Convolution(8, 3, padding="same")])
    assert fast == []


def test_the_path_depends_on_widths_map_and_processor(monkeypatch):
    def path(x, filters, size):
        found = Convolution(filters, size, padding="same")._fast(x)
        return getattr(found, "func", found)

    x = np.zeros((2, 20, 20, 128), "float32")
    assert path(x, 65, 3) is winograd.convolve
    assert path(x, 64, 3) is path(x, 32, 3) is winograd_rows.convolve
    assert path(x, 31, 3) is None
    assert path(x[:, :12], 64, 3) is im2col.convolve  # 30 tiles
    assert path(x, 8, 1) is path(x, 1023, 7) is im2col.convolve
    large = np.zeros((1, 74, 74, 128), "float32")  # 34 million values in patches
    assert path(large, 1023, 7) is None
    assert path(x, 1024, 7) is path(large, 1024, 7) is taps.convolve
    half = jnp.asarray(x, "bfloat16")
    for has in (False, True):
        monkeypatch.setattr(cpu, "multiplies_bfloat16", lambda has=has: has)
        for layer in (Convolution(63, 3, padding="same"), Convolution(8, 7), Convolution(8, 1)):
            assert layer._half(half) is has
            assert layer._fast(half) is None
        assert not Convolution(8, 3, strides=2)._half(half)
        assert not Convolution(8, 3)._half(x)


def test_other_devices_use_the_stock_path(fast, monkeypatch):
    monkeypatch.setattr("fcn_keras.cpu.runtime.on_cpu", lambda: False)
    assert Convolution(8, 3, padding="same")._fast(np.zeros((1, 32, 32, 4), "float32")) is None


def test_saves_and_loads_with_the_stock_config():
    layer = Convolution(8, 3, padding="same", name="conv")
    twin = keras.layers.Conv2D(8, 3, padding="same", name="conv")
    assert layer.get_config() == twin.get_config()
    assert type(keras.layers.deserialize(keras.layers.serialize(layer))) is Convolution
