import dataclasses

import jax
import numpy as np
import pytest

from fcn_keras.training import init_state, make_optimizer, make_step, release, write_back
from fcn_keras.training.setup import build_model


@pytest.fixture
def batch():
    rng = np.random.default_rng(0)
    mask = rng.integers(0, 6, (4, 32, 32)).astype("uint8")
    # Images of different labelled areas: a mean of means would not be the mean.
    mask[0, :20] = 255
    mask[2] = 255
    return {"image": rng.integers(0, 256, (4, 32, 32, 3)).astype("uint8"), "mask": mask}


def steps(config, batch, count=2):
    model = build_model(config, 6)
    optimizer = make_optimizer(config, 10)
    step = make_step(model, optimizer, config)
    state, metrics = init_state(model, optimizer), []
    for _ in range(count):
        state, values = step(state, batch)
        metrics.append(values)
    return model, state, metrics


@pytest.fixture
def config(tiny):
    # Plain SGD is linear in the gradient, so that rounding is all that may differ.
    return dataclasses.replace(tiny, optimizer="sgd", batch_size=4, dropout=0.0)


def test_loss_starts_at_the_logarithm_of_the_class_count(config, batch):
    _, _, metrics = steps(config, batch, count=1)
    assert float(metrics[0].loss_sum / metrics[0].pixels) == pytest.approx(np.log(6), rel=1e-5)
    assert float(metrics[0].pixels) == (batch["mask"] != 255).sum()


@pytest.mark.parametrize("parts", [2, pytest.param(4, marks=pytest.mark.slow)])
def test_accumulated_gradient_equals_the_whole_batch(config, batch, parts):
    _, whole, metrics = steps(config, batch)
    split = dataclasses.replace(config, accumulate=parts)
    _, state, split_metrics = steps(split, batch)
    for a, b in zip(metrics, split_metrics, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5)
    for name, value in whole.params.items():
        np.testing.assert_allclose(value, state.params[name], rtol=1e-5, atol=1e-7, err_msg=name)


@pytest.mark.slow
def test_clipping_shortens_the_first_move_to_the_limit(config, batch):
    config = dataclasses.replace(
        config, schedule="constant", learning_rate=1.0, weight_decay=0.0, bias_rate=1.0
    )

    def first_move(clip_norm):
        clipped = dataclasses.replace(config, clip_norm=clip_norm)
        model, state, (metrics,) = steps(clipped, batch, count=1)
        moves = [np.array(v.value - state.params[v.path]) for v in model.trainable_variables]
        length = np.sqrt(sum(np.sum(np.square(move, dtype="float64")) for move in moves))
        return moves, length, float(metrics.grad_norm)

    free, length, norm = first_move(None)
    assert length == pytest.approx(norm, rel=1e-5)
    limited, length, same_norm = first_move(norm / 4)
    assert length == pytest.approx(norm / 4, rel=1e-5)
    assert same_norm == norm
    for a, b in zip(free, limited, strict=True):
        np.testing.assert_allclose(a / 4, b, rtol=1e-4, atol=1e-8)
    _, length, _ = first_move(norm * 2)
    assert length == pytest.approx(norm, rel=1e-5)


def test_release_drops_the_arrays_and_write_back_brings_them_back(config, batch):
    model = build_model(config, 6)
    start = {v.path: np.array(v.value) for v in model.variables}
    state = init_state(model, make_optimizer(config, 10))
    before = len(jax.live_arrays())
    release(model)
    assert before - len(jax.live_arrays()) == len(start)
    write_back(state, model)
    for variable in model.variables:
        np.testing.assert_array_equal(variable.value, start[variable.path])


def test_only_trainable_variables_change(config, batch):
    frozen = dataclasses.replace(config, freeze_until="block2", weight_decay=0.1)
    model, state, _ = steps(frozen, batch)
    start = {v.path: np.array(v.value) for v in model.variables}
    assert not any(name.startswith(("block1", "block2", "upscore")) for name in state.params)
    write_back(state, model)
    changed = {v.path for v in model.variables if (start[v.path] != np.array(v.value)).any()}
    assert {path.split("/")[0] for path in changed} == {
        *(f"block{b}_conv{c}" for b in (3, 4, 5) for c in (1, 2, 3)),
        *("fc6", "fc7", "score_fr", "score_pool3", "score_pool4"),
    }


@pytest.mark.slow
def test_dropout_draws_anew_each_step_and_repeats_with_the_seed(tiny, batch):
    config = dataclasses.replace(tiny, batch_size=4, dropout=0.5, learning_rate=1e-9)
    model, state, metrics = steps(config, batch, count=3)
    seeds = [v for v in model.non_trainable_variables if "seed" in v.path]
    assert len(seeds) == 2
    _, again, repeated = steps(config, batch, count=3)
    np.testing.assert_array_equal(np.array(metrics), np.array(repeated))
    jax.tree.map(np.testing.assert_array_equal, state, again)


@pytest.mark.slow
def test_bfloat16_keeps_float32_weights_and_loss(config, batch):
    _, state, metrics = steps(dataclasses.replace(config, precision="bfloat16"), batch)
    assert {str(value.dtype) for value in state.params.values()} == {"float32"}
    assert metrics[0].loss_sum.dtype == np.float32
    _, _, exact = steps(config, batch)
    np.testing.assert_allclose(metrics[1].loss_sum, exact[1].loss_sum, rtol=0.02)


def test_a_batch_without_labels_changes_nothing(config, batch):
    empty = {**batch, "mask": np.full_like(batch["mask"], 255)}
    model, state, metrics = steps(dataclasses.replace(config, weight_decay=0.0), empty, count=1)
    assert float(metrics[0].grad_norm) == 0
    for variable in model.trainable_variables:
        np.testing.assert_array_equal(variable.value, state.params[variable.path])


@pytest.mark.slow
def test_the_originals_solver_equals_its_mean_form_at_a_fixed_size(tiny):
    """Summed loss, rate 1e-10, decay 5e-4 against the mean over 32 x 32 pixels."""
    rng = np.random.default_rng(0)
    batch = {
        "image": rng.integers(0, 256, (1, 32, 32, 3)).astype("uint8"),
        "mask": rng.integers(0, 6, (1, 32, 32)).astype("uint8"),
    }
    pixels = 32 * 32
    # A rate that moves the weights well above rounding, as 1e-10 does with a wide network.
    original = dataclasses.replace(
        tiny,
        optimizer="sgd",
        loss="sum",
        batch_size=1,
        momentum=0.99,
        learning_rate=1e-4,
        weight_decay=5e-4,
        schedule="constant",
        dropout=0.0,
    )
    mean = dataclasses.replace(
        original, loss="mean", learning_rate=1e-4 * pixels, weight_decay=5e-4 / pixels
    )
    start, summed, metrics = steps(original, batch, count=4)
    _, averaged, mean_metrics = steps(mean, batch, count=4)
    for a, b in zip(metrics, mean_metrics, strict=True):
        assert float(a.loss_sum) == pytest.approx(float(b.loss_sum), rel=1e-5)
        assert float(a.grad_norm) == pytest.approx(pixels * float(b.grad_norm), rel=1e-4)
    initial = {v.path: np.array(v.value) for v in start.trainable_variables}
    for name, value in summed.params.items():
        moved = np.array(value) - initial[name]
        np.testing.assert_allclose(averaged.params[name] - initial[name], moved, atol=1e-5)
    assert np.abs(summed.params["score_fr/bias"] - initial["score_fr/bias"]).max() > 1e-2
