import random

import numpy as np
import pytest

import fcn_keras
from fcn_keras.models.layers import ScaledNormal, without_initial_values


@pytest.mark.parametrize(
    ("scale", "mode", "variance"),
    [
        (2.0, "fan_in", 2 / (9 * 50)),
        (2.0, "fan_out", 2 / (9 * 200)),
        (1.0, "fan_avg", 1 / (9 * 125)),
    ],
)
def test_variance_is_that_of_he_and_xavier(scale, mode, variance):
    values = np.array(ScaledNormal(scale, mode, seed=0)((3, 3, 50, 200)))
    assert values.dtype == np.float32
    assert values.mean() == pytest.approx(0, abs=4 * np.sqrt(variance / values.size))
    assert values.var() == pytest.approx(variance, rel=0.02)
    # Not truncated: one in 15800 normal values lies beyond four deviations.
    assert 2 <= (np.abs(values) > 4 * np.sqrt(variance)).sum() <= 15


def test_pythons_seed_decides_a_model():
    def kernels(seed):
        random.seed(seed)
        model = fcn_keras.fcn32s(2, backbone_width=2, head_width=4)
        return [model.get_layer(name).kernel.numpy() for name in ("block1_conv1", "fc6", "fc7")]

    first, again, other = kernels(1), kernels(1), kernels(2)
    for a, b, c in zip(first, again, other, strict=True):
        np.testing.assert_array_equal(a, b)
        assert (a != c).all()
    assert not np.allclose(first[0].ravel()[:8], first[2].ravel()[:8])


def test_a_model_about_to_be_read_from_a_file_draws_nothing():
    with without_initial_values():
        model = fcn_keras.fcn8s(3, backbone_width=4, head_width=8)
    assert not np.any(model.get_layer("fc6").kernel)
    assert np.any(model.get_layer("upscore8").kernel)
    assert np.all(fcn_keras.fcn8s(3, backbone_width=4, head_width=8).get_layer("fc6").kernel)
