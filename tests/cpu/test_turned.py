"""Large kernels that prediction takes turned: the same results from the same memory."""

import jax
import jax.numpy as jnp
import keras
import numpy as np
import pytest

from fcn_keras import Segmenter, cpu, fcn8s
from fcn_keras.cpu import bfloat16, onednn, turned
from fcn_keras.inference.precision import in_precision

pytestmark = pytest.mark.skipif(
    not cpu.multiplies_bfloat16(), reason="this CPU or jaxlib has no oneDNN for bfloat16"
)


@pytest.fixture
def model(monkeypatch):
    """In bfloat16; fc6, 7x7 from 32 channels to 16, is turned."""
    monkeypatch.setattr(bfloat16, "_TURNED", 7 * 7 * 32 * 16)
    model = fcn8s(5, backbone_width=4, head_width=16)
    random = np.random.default_rng(0)
    for name in ("score_fr", "fc6"):
        for variable in model.get_layer(name).weights:
            variable.assign(random.normal(scale=0.1, size=variable.shape))
    return in_precision(model, "bfloat16")


IMAGE = np.random.default_rng(1).integers(0, 256, (40, 56, 3), np.uint8)


def kernel(model):
    return model.get_layer("fc6").kernel


@pytest.mark.parametrize(
    ("size", "border", "height"), [(1, 0, 5), (7, 3, 5), (7, 3, 2), (7, 3, 9), (7, 0, 8), (5, 1, 6)]
)
def test_a_turned_kernel_gives_the_direct_sum(size, border, height):
    rng = np.random.default_rng(0)
    shapes = (2, height, 7, 24), (size, size, 24, 10), (10,)
    x, kernel, bias = (rng.normal(size=s) for s in shapes)
    x, kernel = (jnp.asarray(a, "bfloat16") for a in (x, kernel))
    rows = [row.reshape(-1, 10).T for row in kernel]
    with onednn.uncached():
        found = bfloat16.convolve_turned(x, rows, jnp.asarray(bias), border, relu=True)
    x, kernel = (np.asarray(a, np.float64) for a in (x, kernel))
    x = np.pad(x, [(0, 0), (border, border), (border, border), (0, 0)])
    windows = np.lib.stride_tricks.sliding_window_view(x, (size, size), axis=(1, 2))
    exact = np.maximum(np.einsum("bhwcij,ijcf->bhwf", windows, kernel) + bias, 0)
    assert found.shape == exact.shape and found.dtype == jnp.bfloat16
    assert np.all(np.abs(found - exact) <= 2.0**-8 * exact + 1e-5 * exact.max())


def test_the_variable_keeps_its_values_and_its_memory_is_the_programs(model):
    before = np.array(kernel(model).value)
    weights = turned.Weights(model)
    (rows,) = (v for v in weights.values() if isinstance(v, tuple))
    value = kernel(model).value
    places = [row.unsafe_buffer_pointer() - value.unsafe_buffer_pointer() for row in rows]
    assert places == [number * value.nbytes // 7 for number in range(7)]
    np.testing.assert_array_equal(np.asarray(value), before)
    expected = before.transpose(0, 3, 1, 2).reshape(7, 16, -1)
    np.testing.assert_array_equal(np.stack(rows), expected)
    assert all(v is w for v, w in zip(weights.values(), weights.values(), strict=True))
    del value, weights
    kernel(model).assign(jnp.zeros_like(before))  # the matrices alone hold the memory now
    np.testing.assert_array_equal(np.stack(rows), expected)


def test_predictions_are_those_of_the_kernel_as_it_was(model, monkeypatch):
    segmenter = Segmenter(model)
    taken = []
    convolve_turned = bfloat16.convolve_turned
    monkeypatch.setattr(
        bfloat16, "convolve_turned", lambda *a: taken.append(len(a[1])) or convolve_turned(*a)
    )
    found = segmenter.logits(IMAGE)
    assert taken == [7]
    monkeypatch.setattr(bfloat16, "_TURNED", 2**30)
    expected = Segmenter(model).logits(IMAGE)
    assert np.abs(found - expected).max() < 1e-3 * np.ptp(expected)
    # Weights that are assigned later are read.
    kernel(model).assign(2 * kernel(model).value)
    twice = segmenter.logits(IMAGE)
    expected = Segmenter(model).logits(IMAGE)
    assert np.abs(twice - found).max() > 0.1 * np.ptp(expected)
    assert np.abs(twice - expected).max() < 1e-3 * np.ptp(expected)


def test_a_model_that_has_predicted_is_saved_cast_and_called_as_before(model, tmp_path):
    before = np.array(kernel(model).value)
    logits = model.predict_on_batch(IMAGE[None])
    Segmenter(model)(IMAGE)
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    np.testing.assert_array_equal(np.asarray(kernel(loaded).value), before)
    np.testing.assert_array_equal(
        np.asarray(in_precision(model, "float32").get_layer("fc6").kernel), before
    )
    np.testing.assert_array_equal(model.predict_on_batch(IMAGE[None]), logits)


def test_float32_and_several_devices_take_kernels_as_they_are(model, monkeypatch):
    def matrices(model):
        return [len(v) for v in turned.Weights(model).values() if isinstance(v, tuple)]

    assert matrices(model) == [7]
    assert not matrices(in_precision(model, "float32"))
    monkeypatch.setattr(jax, "local_device_count", lambda: 2)
    assert not matrices(model)
