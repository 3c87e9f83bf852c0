"""Winograd's F(2x2, 3x3) in bfloat16 against direct sums in float64, and when it is used."""

import functools
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from fcn_keras import cpu
from fcn_keras.cpu import bfloat16, onednn, winograd_bfloat16

TYPES = "bfloat16", "float32", "float32", "bfloat16"


def direct(x, kernel, bias):
    numbers = ("NHWC", "HWIO", "NHWC")
    return jax.lax.conv_general_dilated(x, kernel, (1, 1), "SAME", dimension_numbers=numbers) + bias


def ours(x, kernel, bias):
    return bfloat16.convolve(x, kernel, bias, 1, False)


@functools.partial(jax.jit, static_argnums=0)
def output_and_gradients(function, operands, probe):
    y, pull = jax.vjp(function, *operands)
    return dict(zip(("output", "input", "kernel", "bias"), (y, *pull(probe)), strict=True))


@pytest.mark.parametrize("shape", [(1, 1, 1, 3), (2, 9, 14, 8), (1, 8, 8, 64), (3, 30, 5, 6)])
def test_it_is_near_the_direct_sum(shape, monkeypatch):
    """Within 2 % of the range, and 1 % of the standard deviation on the whole."""
    monkeypatch.setattr(winograd_bfloat16, "_VALUES", 2**10)  # several bands
    monkeypatch.setattr(bfloat16, "_by_winograd", lambda *_: True)
    rng = np.random.default_rng(0)
    shapes = shape, (3, 3, shape[3], 6), (6,), (*shape[:3], 6)
    *values, probe = (rng.normal(size=s) for s in shapes)
    with jax.enable_x64(True):
        exact = jax.tree.map(np.array, output_and_gradients(direct, values, probe))
    *rounded, probe = (jnp.asarray(a, t) for a, t in zip((*values, probe), TYPES, strict=True))
    with onednn.uncached():
        found = output_and_gradients(ours, rounded, probe)
    parts = ("output", "input", "kernel", "bias")
    assert [found[part].dtype for part in parts] == ["bfloat16", *TYPES[:3]]
    for part, expected in exact.items():
        assert found[part].shape == expected.shape
        difference = np.asarray(found[part], "float64") - expected
        assert np.abs(difference).max() < 0.02 * np.ptp(expected), part
        assert math.sqrt(np.mean(difference**2)) < 0.01 * np.std(expected), part


def test_bias_and_relu_come_before_rounding(monkeypatch):
    monkeypatch.setattr(bfloat16, "_by_winograd", lambda *_: True)
    x = jnp.ones((1, 4, 4, 1), "bfloat16")
    bias = jnp.asarray([-8.99, -9.01])
    y = bfloat16.convolve(x, jnp.ones((3, 3, 1, 2)), bias, 1, True)
    # The sums are 9 inside. Rounded before, both biases would be 9, and the differences 0.
    np.testing.assert_allclose(y[0, 1, 1], [0.01, 0], rtol=2**-8)


@pytest.mark.parametrize(
    ("shape", "kernel", "border", "amx", "used"),
    [
        ((2, 28, 28, 256), (3, 3, 256, 512), 1, False, True),
        ((2, 28, 28, 256), (3, 3, 256, 512), 1, True, False),
        ((1, 20, 28, 256), (3, 3, 256, 512), 1, False, False),  # 140 tiles
        ((2, 28, 28, 64), (3, 3, 64, 256), 1, False, False),
        ((2, 28, 28, 256), (3, 3, 256, 512), 0, False, False),
        ((2, 28, 28, 256), (7, 7, 256, 512), 3, False, False),
    ],
)
def test_when_it_is_used(shape, kernel, border, amx, used, monkeypatch):
    monkeypatch.setattr(cpu, "has_amx", lambda: amx)
    taken = []
    monkeypatch.setattr(winograd_bfloat16, "convolve", lambda x, *_: taken.append(1) or x)
    arguments = [jax.ShapeDtypeStruct(s, "bfloat16") for s in (shape, kernel, kernel[-1:])]
    jax.eval_shape(lambda *a: bfloat16.convolve(*a, border, True), *arguments)
    assert taken == [1] * used


def test_amx_is_a_flag(tmp_path):
    path = tmp_path / "cpuinfo"
    for flags, has in (("avx512_bf16", False), ("avx512_bf16 amx_bf16 amx_tile", True)):
        path.write_text(f"flags\t\t: fpu {flags} sse\n")
        cpu.has_amx.cache_clear()
        assert cpu.has_amx(path) is has
    cpu.has_amx.cache_clear()
