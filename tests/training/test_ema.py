import dataclasses

import numpy as np
import pytest

from fcn_keras import InputError
from fcn_keras.training import averaged, init_state, make_optimizer, make_step, train
from fcn_keras.training.setup import build_model


@pytest.fixture
def batch():
    rng = np.random.default_rng(0)
    return {
        "image": rng.integers(0, 256, (2, 32, 32, 3)).astype("uint8"),
        "mask": rng.integers(0, 6, (2, 32, 32)).astype("uint8"),
    }


@pytest.mark.slow
def test_average_equals_the_weighted_mean_of_the_weights_so_far(tiny, batch):
    config = dataclasses.replace(tiny, ema_decay=0.75)
    model = build_model(config, 6)
    optimizer = make_optimizer(config, 10)
    step = make_step(model, optimizer, config)
    state, history = init_state(model, optimizer, config), []
    for _ in range(4):
        state, _ = step(state, batch)
        history.append(np.array(state.params["fc6/kernel"], "float64"))
    shares = [0.75**age for age in (3, 2, 1, 0)]
    expected = sum(w * x for w, x in zip(shares, history, strict=True)) / sum(shares)
    found = averaged(state, config).params["fc6/kernel"]
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-8)
    assert np.abs(found - history[-1]).max() > 1e-4


def test_without_an_average_the_weights_are_their_own(tiny):
    model = build_model(tiny, 6)
    state = init_state(model, make_optimizer(tiny, 10), tiny)
    assert state.ema is None
    assert averaged(state, tiny) is state


def test_class_weights_of_another_number_are_refused(config, tmp_path):
    message = "class_weights has 3 numbers, but the data set shapes has 6 classes"
    with pytest.raises(InputError, match=message):
        train(dataclasses.replace(config, class_weights=(1.0, 2.0, 3.0)), tmp_path)
