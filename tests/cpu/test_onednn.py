"""oneDNN's convolutions against XLA's in float64, and which programs call them."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.experimental.compilation_cache import compilation_cache

from fcn_keras import cpu
from fcn_keras.cpu import bfloat16, onednn
from fcn_keras.cpu.runtime import tuned_jit

pytestmark = pytest.mark.skipif(
    not cpu.multiplies_bfloat16(), reason="this CPU or jaxlib has no oneDNN for bfloat16"
)


def stock(x, kernel, bias, border, relu):
    numbers = ("NHWC", "HWIO", "NHWC")
    y = jax.lax.conv_general_dilated(
        x, kernel, (1, 1), [(border, border)] * 2, dimension_numbers=numbers
    )
    y = y if bias is None else y + bias
    return jax.nn.relu(y) if relu else y


@partial(jax.jit, static_argnums=(0, 1, 2))
def outputs_and_gradients(function, border, relu, operands, probe):
    y, pull = jax.vjp(lambda *operands: function(*operands, border, relu), *operands)
    return y, *pull(probe)


@pytest.mark.parametrize(
    ("shape", "size", "border", "relu", "bias"),
    [
        ((1, 1, 1, 3), 1, 0, False, True),
        ((2, 9, 14, 5), 3, 1, True, True),
        ((2, 9, 14, 64), 3, 0, True, False),
        ((3, 8, 7, 6), 7, 3, False, False),
        ((2, 2, 3, 6), 7, 3, False, True),  # some of its rows meet zeros only
    ],
)
@pytest.mark.parametrize("large", [False, True], ids=["direct", "by rows"])
def test_only_operands_and_results_are_rounded(shape, size, border, relu, bias, large, monkeypatch):
    """To the half unit in the last of 8 binary places, and float32 sums to 1e-5.

    The truth is the direct sum in float64 of the rounded operands.
    """
    monkeypatch.setattr(bfloat16, "_by_rows", lambda x, kernel: large)
    jax.clear_caches()
    rng = np.random.default_rng(0)
    filters = 7
    outputs = [extent + 2 * border - size + 1 for extent in shape[1:3]]
    shapes = shape, (size, size, shape[3], filters), (shape[0], *outputs, filters)
    x, kernel, probe = (jnp.asarray(rng.normal(size=s), "bfloat16") for s in shapes)
    offset = jnp.asarray(rng.normal(size=filters), "float32") if bias else None
    with onednn.uncached():
        ours = outputs_and_gradients(
            bfloat16.convolve, border, relu, (x, kernel.astype("float32"), offset), probe
        )
    with jax.enable_x64(True):
        double = jax.tree.map(lambda a: np.asarray(a, "float64"), (x, kernel, offset))
        exact = outputs_and_gradients(stock, border, relu, double, np.asarray(probe, "float64"))
        exact = jax.tree.map(np.array, exact)
    assert [a.dtype for a in jax.tree.leaves(ours)] == ["bfloat16"] * 2 + ["float32"] * (1 + bias)
    for found, expected in zip(jax.tree.leaves(ours), jax.tree.leaves(exact), strict=True):
        assert found.shape == expected.shape
        rounded = 2.0**-8 if found.dtype == jnp.bfloat16 else 0
        difference = np.abs(np.asarray(found, "float64") - expected)
        assert np.all(difference <= rounded * np.abs(expected) + 1e-5 * np.abs(expected).max())


def configured(folder):
    """With JAX's compilation cache in `folder`, where it takes every program; None turns it off."""
    settings = {
        "jax_compilation_cache_dir": folder and str(folder),
        "jax_persistent_cache_min_compile_time_secs": 0.0,
    }
    before = {name: getattr(jax.config, name) for name in settings}
    for name, value in settings.items():
        jax.config.update(name, value)
    compilation_cache.reset_cache()  # it would stay where it was
    yield lambda: jax.config.jax_persistent_cache_min_compile_time_secs
    for name, value in before.items():
        jax.config.update(name, value)
    compilation_cache.reset_cache()


@pytest.fixture
def cache(tmp_path):
    yield from configured(tmp_path)


@pytest.fixture
def no_cache():
    yield from configured(None)


def twice(x):
    return 2 * bfloat16.convolve(x, jnp.ones((3, 3, 4, 5)), None, 1, False)


X = jnp.ones((1, 6, 6, 4), "bfloat16")


def calls(function):
    """As it is traced now."""
    jax.clear_caches()
    return "__onednn$convolution" in jax.jit(function).lower(X).as_text()


def test_an_exported_program_does_not_call(no_cache):
    assert calls(twice)
    exported = jax.export.export(jax.jit(twice))(X)
    assert "__onednn" not in exported.mlir_module()
    np.testing.assert_array_equal(exported.call(X), twice(X))


def test_it_can_be_mapped(no_cache):
    images = jnp.asarray(np.random.default_rng(0).normal(size=(3, *X.shape)), "bfloat16")
    expected = jnp.stack([twice(image) for image in images])
    np.testing.assert_array_equal(jax.vmap(twice)(images), expected)


def test_a_program_for_several_devices_does_not_call(no_cache, monkeypatch):
    assert calls(twice)
    monkeypatch.setattr(jax, "local_device_count", lambda: 2)
    assert not calls(twice)


def test_a_program_for_the_cache_does_not_call(cache):
    assert not calls(twice)
    with onednn.uncached():
        with onednn.uncached():
            assert calls(twice)
        assert cache() == np.inf
    assert cache() == 0
    assert not calls(twice)


def test_a_program_that_calls_stays_out_of_the_cache(cache, tmp_path):
    """Writing one would be an error, if not worse."""
    program = tuned_jit(twice, half=True)
    np.testing.assert_array_equal(program(X), program.compile(X)(X))
    assert "__onednn" in program._jitted.lower(X).as_text()  # as it was lowered above
    assert not list(tmp_path.glob("jit_twice*"))
    assert "__onednn" not in program.lower(X).as_text()
    np.testing.assert_array_equal(tuned_jit(twice)(X), program(X))
    assert list(tmp_path.glob("jit_twice*"))
