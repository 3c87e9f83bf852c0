"""The pools for CPUs against the stock layer, bit by bit, and against loops."""

import jax
import jax.numpy as jnp
import keras
import numpy as np
import pytest

from fcn_keras.cpu.max_pool import max_pool
from fcn_keras.models.pooling import MaxPool


def by_loops(x, probe):
    """Outputs and gradient; the first of the largest takes it."""
    batch, height, width, channels = x.shape
    outputs = np.zeros((batch, -(-height // 2), -(-width // 2), channels), x.dtype)
    gradient = np.zeros_like(x)
    for b, i, j, c in np.ndindex(outputs.shape):
        window = x[b, 2 * i : 2 * i + 2, 2 * j : 2 * j + 2, c]
        outputs[b, i, j, c] = window.max()
        row, column = np.unravel_index(window.argmax(), window.shape)
        gradient[b, 2 * i + row, 2 * j + column, c] = probe[b, i, j, c]
    return outputs, gradient


@pytest.mark.parametrize("shape", [(1, 1, 1, 1), (2, 6, 8, 3), (2, 5, 7, 3), (1, 4, 1, 2)])
def test_equals_loops_where_values_tie(shape):
    rng = np.random.default_rng(0)
    x = rng.integers(-2, 2, size=shape).astype("float32")
    outputs, pull = jax.vjp(max_pool, jnp.asarray(x))
    probe = rng.normal(size=outputs.shape).astype("float32")
    expected, gradient = by_loops(x, probe)
    np.testing.assert_array_equal(outputs, expected)
    np.testing.assert_array_equal(pull(probe)[0], gradient)


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize(
    "arguments",
    [{}, {"strides": 1}, {"pool_size": 3}, {"padding": "valid"}],
    ids=str,
)
def test_equals_the_stock_layer(arguments, dtype):
    arguments = {"pool_size": 2, "padding": "same", **arguments}
    x = jnp.asarray(np.random.default_rng(0).normal(size=(2, 7, 8, 3)), dtype)

    def both(kind):
        layer = kind(**arguments, dtype=dtype)
        outputs, pull = jax.vjp(lambda x: layer(x), x)
        return outputs, pull(jnp.cos(outputs))[0]

    for ours, theirs in zip(both(MaxPool), both(keras.layers.MaxPooling2D), strict=True):
        assert ours.dtype == theirs.dtype
        np.testing.assert_array_equal(ours, theirs)


def test_saves_and_loads_with_the_stock_config():
    layer = MaxPool(2, padding="same", name="pool")
    twin = keras.layers.MaxPooling2D(2, padding="same", name="pool")
    assert layer.get_config() == twin.get_config()
    assert type(keras.layers.deserialize(keras.layers.serialize(layer))) is MaxPool


def test_other_devices_use_the_stock_layer(monkeypatch):
    monkeypatch.setattr("fcn_keras.cpu.runtime.on_cpu", lambda: False)
    monkeypatch.delattr("fcn_keras.cpu.max_pool.max_pool")
    np.testing.assert_array_equal(MaxPool(2, padding="same")(np.ones((1, 3, 3, 1))), 1)
