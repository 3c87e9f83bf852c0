"""Training steps against ``torch.optim.SGD`` with the paper's parameter groups."""

import copy

import numpy as np
import optax
import pytest

pytest.importorskip("torch")

import torch

from fcn_keras.training import TrainConfig, init_state, make_optimizer, make_step, write_back
from tests.parity import measure
from tests.parity.conversion import to_torch, torch_name

pytestmark = pytest.mark.torch
SETTINGS = {"learning_rate": 0.01, "momentum": 0.9, "weight_decay": 5e-3, "schedule": "constant"}
QUICK = ("fcn8s", "same", None)
# The next layer subtracts these again, so that their gradients are rounding alone.
BEFORE_BATCH_NORM = {
    f"{name}.0.bias"
    for name in ("head.fc6", "head.fc7", *(f"transpose_conv{i}" for i in (1, 2, 3)))
}


def cases():
    for case in measure.CASES:
        marks = () if case == QUICK else pytest.mark.slow
        yield pytest.param(case, id="-".join(part for part in case if part), marks=marks)


def batch(seed=0, classes=5, size=(48, 64)):
    """Two images and masks with a quarter of the pixels void."""
    images = measure.random_images(size, batch=2, seed=seed)
    rng = np.random.default_rng(5 + seed)
    masks = rng.integers(0, classes, images.shape[:3]).astype("uint8")
    masks[rng.random(masks.shape) < 0.25] = 255
    return {"image": images, "mask": masks}


class TorchSGD:
    """The reference's training step: biases at twice the rate and without decay."""

    def __init__(self, reference, config, frozen):
        self.reference, self.loss = reference.train(), config.loss
        for name, parameter in reference.named_parameters():
            parameter.requires_grad = name not in frozen
        named = [(n, p) for n, p in reference.named_parameters() if p.requires_grad]
        norms = {
            f"{name}.{kind}"
            for name, module in reference.named_modules()
            if isinstance(module, torch.nn.BatchNorm2d)
            for kind in ("weight", "bias")
        }
        kernels = [p for n, p in named if n.endswith("weight") and n not in norms]
        biases = [p for n, p in named if n.endswith("bias") and n not in norms]
        rate = config.learning_rate
        self.optimizer = torch.optim.SGD(
            [
                {"params": kernels, "weight_decay": config.weight_decay},
                {"params": biases, "lr": 2 * rate},
                {"params": [p for n, p in named if n in norms]},
            ],
            lr=rate,
            momentum=config.momentum,
        )

    def step(self, data):
        logits = self.reference(measure.to_pixels(data["image"]))
        mask = torch.tensor(data["mask"]).long()
        loss = torch.nn.functional.cross_entropy(
            logits, mask, ignore_index=255, reduction=self.loss
        )
        self.optimizer.zero_grad()
        loss.backward()
        self.optimizer.step()
        return loss.item()

    def values(self, of):
        """`of` each trainable parameter, as arrays by name."""
        named = self.reference.named_parameters()
        return {n: of(p).detach().numpy().copy() for n, p in named if p.requires_grad}


def batch_away_from_kinks(trainer, config, steps=3, margin=3e-7):
    """The first batch at which rounding can't decide the sign of a deep ReLU's input.

    Such a sign changes the gradients below by a thousandth, since conv4 and conv5 have few pixels.
    Every input of the `steps` is farther from 0 than `margin` of its layer's range, in float64.
    """
    for seed in range(50):
        if distance_from_kinks(trainer.reference, config, batch(seed), steps) > margin:
            return batch(seed)
    raise AssertionError(f"no batch keeps {margin} away from the kinks")


def distance_from_kinks(reference, config, data, steps):
    """The smallest of the deep ReLUs' inputs in `steps` steps, each as a part of its range."""
    frozen = {n for n, p in reference.named_parameters() if not p.requires_grad}
    exact = TorchSGD(copy.deepcopy(reference).double(), config, frozen)
    found = []

    def measure_outputs(layer, inputs, outputs):
        values = outputs.detach()
        found.append(float(values.abs().min() / (values.max() - values.min())))

    for layer in deep_layers(exact.reference):
        layer.register_forward_hook(measure_outputs)
    for _ in range(steps):
        exact.step(data)
    return min(found)


def deep_layers(reference):
    """What the last ReLUs of a reference take: convolutions, or their batch normalisation."""
    names = ("conv4", "conv5", "fc", "backbone.layer4", "backbone.layer5", "head")
    kinds = (torch.nn.Conv2d, torch.nn.BatchNorm2d)
    return [m for n, m in reference.named_modules() if n.startswith(names) and isinstance(m, kinds)]


def in_torch_names(arrays, batch_norm):
    """Our arrays by path, in torch's layout by torch's names."""
    return {
        torch_name(*path.split("/"), batch_norm): to_torch(array) for path, array in arrays.items()
    }


def assert_close(ours, theirs, tolerance):
    """Each array differs by less than `tolerance` times its own largest number."""
    assert ours.keys() == theirs.keys()
    largest = {name: np.abs(value).max() for name, value in theirs.items()}
    for name, value in theirs.items():
        difference = np.abs(ours[name] - value).max()
        if name in BEFORE_BATCH_NORM:
            assert max(difference, largest[name]) < 1e-5 * max(largest.values()), name
        else:
            assert difference < tolerance * largest[name], name


def trainers(case, config, **options):
    model, reference = measure.build_pair(*case, dropout=0.0, **options, **measure.NARROW)
    frozen = {
        torch_name(*v.path.split("/")) for v in model.non_trainable_weights if "kernel" in v.path
    }
    optimizer = make_optimizer(config, total_steps=10)
    step, state = make_step(model, optimizer, config), init_state(model, optimizer)
    return model, step, state, TorchSGD(reference, config, frozen)


def changes(before, after):
    return {name: after[name] - before[name] for name in before if name not in BEFORE_BATCH_NORM}


@pytest.mark.parametrize("case", [*cases()])
def test_losses_gradients_and_updates(case):
    config = TrainConfig(**SETTINGS)
    batch_norm = case[2] == "batch_norm"
    model, step, state, theirs = trainers(case, config, upsampling="learned")
    data = batch_away_from_kinks(theirs, config)
    start = theirs.values(lambda p: p)
    for _ in range(3):
        state, metrics = step(state, data)
        loss = theirs.step(data)
        assert float(metrics.loss_sum / metrics.pixels) == pytest.approx(loss, rel=1e-5)
        # Momentum starts as the first gradient, with the decay in it.
        ours = optax.tree_utils.tree_get(state.opt_state, "trace")
        momentum = theirs.values(lambda p: theirs.optimizer.state[p]["momentum_buffer"])
        assert_close(in_torch_names(ours, batch_norm), momentum, 1e-4)
    ours, end = in_torch_names(state.params, batch_norm), theirs.values(lambda p: p)
    # The change is a thousandth of the weight, so its rounding is a thousand times larger.
    assert_close(changes(start, ours), changes(start, end), 1e-3)
    if batch_norm:
        write_back(state, model)
        assert_running_statistics(model, theirs.reference)


def assert_running_statistics(model, reference, steps=3):
    """Torch gathers the variance over n - 1 of n samples, Keras over n."""
    samples = {"fc6": 8, "fc7": 8, "upscore2": 32, "upscore_pool4": 96, "upscore8": 6144}
    start, _ = measure.build_pair("fcn8s", "same", "batch_norm", **measure.NARROW)
    theirs = {name: value.numpy() for name, value in reference.state_dict().items()}
    for layer, n in samples.items():
        bn, kept = model.get_layer(f"{layer}_bn"), 0.9**steps
        mean = theirs[torch_name(f"{layer}_bn", "moving_mean", True)]
        np.testing.assert_allclose(bn.moving_mean.value, mean, rtol=1e-3, atol=1e-5)
        old = kept * np.asarray(start.get_layer(f"{layer}_bn").moving_variance.value)
        variance = theirs[torch_name(f"{layer}_bn", "moving_variance", True)]
        expected = old + (variance - old) * (n - 1) / n
        np.testing.assert_allclose(bn.moving_variance.value, expected, rtol=1e-4)


@pytest.mark.slow
@pytest.mark.parametrize("loss", ["sum", "mean"])
def test_summed_loss_is_the_mean_loss_at_another_rate(loss):
    """The original's solver: rate r and decay w on the sum over N pixels are N r and w / N."""
    pixels = int((batch()["mask"] != 255).sum())
    rate, decay = 1e-6, 5.0
    summed = TrainConfig(
        loss="sum", learning_rate=rate, weight_decay=decay, momentum=0.99, schedule="constant"
    )
    mean = TrainConfig(
        loss="mean",
        learning_rate=pixels * rate,
        weight_decay=decay / pixels,
        momentum=0.99,
        schedule="constant",
    )
    ours, other = (mean, summed) if loss == "mean" else (summed, mean)
    _, step, state, _ = trainers(("fcn32s", "same", None), ours)
    *_, theirs = trainers(("fcn32s", "same", None), other)
    start = theirs.values(lambda p: p)
    assert "upscore.weight" not in start
    for _ in range(3):
        state, _ = step(state, batch())
        theirs.step(batch())
    end = theirs.values(lambda p: p)
    assert_close(changes(start, in_torch_names(state.params, False)), changes(start, end), 1e-3)
