import dataclasses

import numpy as np
import pytest

from fcn_keras.training import TrainConfig, make_optimizer, make_schedule

NAMES = ("block1_conv1/kernel", "block1_conv1/bias", "fc6/kernel", "fc6/bias", "fc6_bn/gamma")


def updates_after(config, gradients):
    """The updates of each step, weights held at 1."""
    params = {name: np.ones(3, "float32") for name in NAMES}
    optimizer = make_optimizer(config, total_steps=100)
    state, history = optimizer.init(params), []
    for gradient in gradients:
        grads = {name: np.full(3, gradient, "float32") for name in NAMES}
        updates, state = optimizer.update(grads, state, params)
        history.append({name: float(update[0]) for name, update in updates.items()})
    return history


def test_rates_and_decay_by_name():
    config = TrainConfig(
        learning_rate=0.1, schedule="constant", momentum=0.5, weight_decay=0.01, backbone_rate=0.1
    )
    first, second = updates_after(config, [1.0, 1.0])
    assert first["fc6/kernel"] == pytest.approx(-0.1 * 1.01)
    assert first["fc6/bias"] == pytest.approx(-0.2)
    assert first["fc6_bn/gamma"] == pytest.approx(-0.1)
    assert first["block1_conv1/kernel"] == pytest.approx(-0.01 * 1.01)
    assert first["block1_conv1/bias"] == pytest.approx(-0.02)
    for name in NAMES:
        assert second[name] == pytest.approx(1.5 * first[name])


def test_summed_loss_solver_equals_the_mean_loss_form():
    # The original: lr 1e-10 and decay 5e-4 on the sum over 500 x 500 pixels. On the mean the rate
    # is 250000 times larger and the decay as many times smaller.
    pixels = 500 * 500
    original = TrainConfig(
        loss="sum", batch_size=1, momentum=0.99, learning_rate=1e-10, schedule="constant"
    )
    mean = dataclasses.replace(
        original, loss="mean", learning_rate=1e-10 * pixels, weight_decay=5e-4 / pixels
    )
    assert mean.learning_rate == pytest.approx(2.5e-5)
    assert mean.weight_decay == pytest.approx(2e-9)
    summed_gradients = np.random.default_rng(0).normal(size=20) * 1e4
    summed = updates_after(original, summed_gradients)
    averaged = updates_after(mean, summed_gradients / pixels)
    for a, b in zip(summed, averaged, strict=True):
        assert a == pytest.approx(b, rel=1e-5)


def test_adamw_decays_outside_the_moments():
    config = TrainConfig(
        optimizer="adamw", learning_rate=0.1, schedule="constant", weight_decay=0.01
    )
    (first,) = updates_after(config, [5.0])
    # Adam's first step has length 1 whatever the gradient.
    assert first["fc6/kernel"] == pytest.approx(-0.1 * 1.01, rel=1e-5)
    assert first["fc6/bias"] == pytest.approx(-0.2, rel=1e-5)


def test_poly_schedule_with_warmup():
    config = TrainConfig(learning_rate=0.2, schedule="poly", warmup_steps=10)
    schedule = make_schedule(config, total_steps=110)
    rates = [float(schedule(step)) for step in range(110)]
    assert rates[:10] == pytest.approx([0.02 * (step + 1) for step in range(10)], rel=1e-5)
    expected = [0.2 * (1 - step / 100) ** 0.9 for step in range(100)]
    assert rates[10:] == pytest.approx(expected, rel=1e-4, abs=1e-7)


def test_constant_schedule():
    schedule = make_schedule(TrainConfig(learning_rate=0.3, schedule="constant"), total_steps=5)
    assert [float(schedule(step)) for step in (0, 4)] == pytest.approx([0.3, 0.3])
