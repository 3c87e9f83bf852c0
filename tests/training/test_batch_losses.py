"""Focal, Dice, Lovász-softmax: against the same written in torch, and over several devices."""

import itertools
import json
import os
import subprocess
import sys
from pathlib import Path

import jax
import numpy as np
import pytest

from fcn_keras import InputError
from fcn_keras.training import TrainConfig
from fcn_keras.training.loss import cross_entropy, dice, lovasz_softmax, make_loss

VOID = 255
LOSSES = ("focal", "dice", "lovasz", "ce_dice")


@pytest.fixture
def sample():
    """Logits (2, 5, 7, 4) and labels; class 3 is nowhere, and 14 pixels are void."""
    rng = np.random.default_rng(0)
    logits = 2 * rng.normal(size=(2, 5, 7, 4)).astype("float32")
    mask = rng.integers(0, 3, (2, 5, 7)).astype("uint8")
    mask[0, :2] = VOID
    return logits, mask


def torch_focal(torch, logits, labels):
    chosen = torch.softmax(logits, 1)[torch.arange(len(labels)), labels]
    return (-((1 - chosen) ** 2) * torch.log(chosen)).mean()


def torch_dice(torch, logits, labels):
    """segmentation_models.pytorch's DiceLoss(mode="multiclass"): absent classes count as 0."""
    probabilities, total = torch.softmax(logits, 1), 0
    for label in range(logits.shape[1]):
        true = (labels == label).double()
        if true.sum():
            ours = probabilities[:, label]
            total = total + 1 - 2 * (ours * true).sum() / (ours.sum() + true.sum())
    return total / logits.shape[1]


def torch_lovasz(torch, logits, labels):
    """The Lovász extension of 1 - IoU as a set function, by its definition (Berman et al., eq. 5).

    Errors from the largest down, each times what its pixel adds to the loss of the set of wrong
    pixels so far, which is counted anew each time.
    """
    probabilities, losses = torch.softmax(logits, 1), []
    for label in range(logits.shape[1]):
        true = {i for i, own in enumerate(labels.tolist()) if own == label}
        if not true:
            continue
        ours = probabilities[:, label]
        errors = torch.where(labels == label, 1 - ours, ours)

        def set_loss(wrong, true=true):
            predicted = true ^ wrong
            return 1 - len(true & predicted) / len(true | predicted)

        order = sorted(range(len(labels)), key=lambda i, e=errors: -e[i].item())
        loss = 0
        for count, pixel in enumerate(order, 1):
            gain = set_loss(set(order[:count])) - set_loss(set(order[: count - 1]))
            loss = loss + errors[pixel] * gain
        losses.append(loss)
    return sum(losses) / len(losses)


def torch_ce_dice(torch, logits, labels):
    return torch.nn.functional.cross_entropy(logits, labels) + torch_dice(torch, logits, labels)


@pytest.mark.torch
@pytest.mark.parametrize("name", LOSSES)
def test_values_and_gradients_equal_torch(sample, name):
    torch = pytest.importorskip("torch")
    logits, mask = sample
    loss = make_loss(TrainConfig(loss=name))

    def value(x):
        total, count = loss(x, mask)
        return total / count

    found, gradient = jax.jit(jax.value_and_grad(value))(logits)
    leaf = torch.tensor(logits, dtype=torch.float64, requires_grad=True)
    labelled = torch.tensor(mask != VOID)
    labels = torch.tensor(mask.astype("int64"))[labelled]
    expected = globals()[f"torch_{name}"](torch, leaf[labelled], labels)
    expected.backward()
    assert float(found) == pytest.approx(expected.item(), abs=1e-6)
    np.testing.assert_allclose(gradient, leaf.grad.numpy(), rtol=0, atol=1e-6)
    assert np.abs(gradient).max() > 1e-3
    assert (np.asarray(gradient)[mask == VOID] == 0).all()


@pytest.mark.parametrize("name", LOSSES)
def test_void_pixels_count_for_nothing_even_with_infinite_logits(sample, name):
    logits, mask = sample
    loss = make_loss(TrainConfig(loss=name))
    expected = [float(x) for x in loss(logits, mask)]
    logits[mask == VOID] = np.inf
    gradient = jax.jit(jax.grad(lambda x: loss(x, mask)[0]))(logits)
    assert [float(x) for x in loss(logits, mask)] == pytest.approx(expected, rel=1e-6)
    assert name in ("focal", "ce_dice") or np.isfinite(gradient).all()


@pytest.mark.parametrize("name", LOSSES)
def test_all_void_is_zero_not_nan(sample, name):
    logits, mask = sample
    total, _ = make_loss(TrainConfig(loss=name))(logits, np.full_like(mask, VOID))
    gradient = jax.grad(
        lambda x: make_loss(TrainConfig(loss=name))(x, np.full_like(mask, VOID))[0]
    )(logits)
    assert float(total) == 0 and (np.asarray(gradient) == 0).all()


def test_a_perfect_prediction_costs_nothing(sample):
    _, mask = sample
    logits = 100 * np.eye(256, dtype="float32")[mask][..., :4]
    assert float(dice(logits, mask)) == pytest.approx(0, abs=1e-6)
    assert float(lovasz_softmax(logits, mask)) == pytest.approx(0, abs=1e-6)
    wrong = 100 * np.eye(256, dtype="float32")[np.where(mask == VOID, 0, 2 - mask % 2)][..., :4]
    assert float(lovasz_softmax(wrong, mask)) == pytest.approx(
        np.mean([1 - iou(mask, wrong.argmax(-1), label) for label in range(3)]), abs=1e-6
    )


def iou(truth, prediction, label):
    true, found = (truth == label), (prediction == label) & (truth != VOID)
    return (true & found).sum() / (true | found).sum()


def test_focal_takes_class_weights_as_cross_entropy_does(sample):
    logits, mask = sample
    weights = [0.5, 2.0, 0.0, 1.0]
    total, count = make_loss(TrainConfig(loss="focal"), weights)(logits, mask)
    ones = [make_loss(TrainConfig(loss="focal"), np.eye(4)[i])(logits, mask) for i in range(4)]
    assert float(total) == pytest.approx(
        sum(w * float(one[0]) for w, one in zip(weights, ones, strict=True)), rel=1e-6
    )
    assert float(count) == float(cross_entropy(logits, mask, weights)[1])


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        *(
            ({"loss": name, "accumulate": 2}, f"accumulate=2 is not possible with loss={name}")
            for name in ("dice", "lovasz", "ce_dice")
        ),
        *(
            ({"loss": name, "class_weights": (1.0, 2.0)}, "class_weights weigh pixels, and loss=")
            for name in ("dice", "lovasz")
        ),
        ({"class_weights": "balancd"}, "class_weights=balancd must be numbers, or balanced"),
        ({"patience": 0}, "patience=0 must be above 0"),
    ],
)
def test_what_cannot_be_is_refused(settings, message):
    with pytest.raises(InputError, match=message):
        TrainConfig(batch_size=4, **settings)


WORKER = """
import json, sys
import jax, numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec
from fcn_keras.training import TrainConfig
from fcn_keras.training.loss import make_loss

rng = np.random.default_rng(3)
logits = 2 * rng.normal(size=(4, 6, 5, 4)).astype("float32")
mask = rng.integers(0, 4, (4, 6, 5)).astype("uint8")
mask[1, :3], mask[2] = 255, 255
split = NamedSharding(Mesh(np.array(jax.devices()), ("batch",)), PartitionSpec("batch"))
found = {"devices": jax.device_count()}
for name in sys.argv[1:]:
    loss = make_loss(TrainConfig(loss=name))
    step = jax.jit(jax.value_and_grad(lambda x, m: loss(x, m)[0] / loss(x, m)[1]))
    value, gradient = step(*jax.device_put((logits, mask), split))
    found[name] = [float(value), *np.asarray(gradient).ravel()[::7].tolist()]
print(json.dumps(found))
"""

AS_USERS = {"JAX_DISABLE_MOST_OPTIMIZATIONS": "0", "JAX_PLATFORMS": "cpu"}


@pytest.mark.slow
def test_devices_that_share_a_batch_agree_with_one():
    found = []
    for devices in (1, 4):
        flags = f"--xla_force_host_platform_device_count={devices}"
        done = subprocess.run(
            [sys.executable, "-c", WORKER, *LOSSES],
            cwd=Path(__file__).parents[2],
            env={**os.environ, **AS_USERS, "XLA_FLAGS": flags},
            capture_output=True,
            text=True,
            check=True,
        )
        found.append(json.loads(done.stdout.splitlines()[-1]))
    assert [one.pop("devices") for one in found] == [1, 4]
    for name in LOSSES:
        assert found[1][name] == pytest.approx(found[0][name], rel=1e-5, abs=1e-8)
    for first, second in itertools.combinations(LOSSES, 2):
        assert found[0][first][0] != pytest.approx(found[0][second][0], rel=1e-3)
