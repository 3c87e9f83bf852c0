import dataclasses

import pytest

from fcn_keras import InputError
from fcn_keras.training import TrainConfig
from fcn_keras.training.setup import build_model, freeze


def test_freeze_leaves_what_lies_behind(tiny):
    model = build_model(tiny, 6)
    freeze(model, "block3")
    trained = {v.path.split("/")[0] for v in model.trainable_variables}
    assert not any(name.startswith(("block1", "block2", "block3")) for name in trained)
    assert {"block4_conv1", "block5_conv3", "fc6", "score_pool3"} <= trained


def test_freeze_refuses_an_unknown_block(tiny):
    with pytest.raises(InputError, match=r"freeze_until='block6' is not a block"):
        build_model(dataclasses.replace(tiny, freeze_until="block6"), 6)


def test_same_seed_same_start(tiny):
    first, again = (build_model(tiny, 6).get_weights() for _ in range(2))
    other = build_model(dataclasses.replace(tiny, seed=1), 6).get_weights()
    assert all((a == b).all() for a, b in zip(first, again, strict=True))
    assert any((a != b).any() for a, b in zip(first, other, strict=True))


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ({"crop_size": 0}, "crop_size=0 must be above 0"),
        ({"max_steps": 0}, "max_steps=0 must be above 0"),
        ({"momentum": -1}, "momentum=-1 must be at least 0"),
        ({"batch_size": 4, "accumulate": 3}, "accumulate=3 does not divide batch_size=4"),
        ({"at_once": True, "model": "fcn32s"}, "at_once scales the skips of fcn8s"),
    ],
)
def test_bad_settings_are_refused(setting, message):
    with pytest.raises(InputError, match=message):
        TrainConfig(**setting)
