import contextlib
import dataclasses

import numpy as np
import pytest
from PIL import Image

from fcn_keras import InputError, describe
from fcn_keras.data.classes import VOID
from fcn_keras.training import Reporter, TrainConfig
from fcn_keras.training.assembly import Assembly
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


def test_photos_are_scaled_down_before_anything_else(tiny):
    settings = {"max_side": 20, "min_scale": 1.0, "max_scale": 1.0}
    parts = Assembly(dataclasses.replace(tiny, **settings), Reporter())
    with contextlib.closing(parts.batches(0)) as batches:
        batch, indices = next(batches)
    for image, mask, index in zip(batch["image"], batch["mask"], indices, strict=True):
        photo = Image.fromarray(parts.source[index][0])
        scale = 20 / max(photo.size)
        size = [round(scale * side) for side in photo.size]
        expected = np.asarray(photo.resize(size, Image.Resampling.BILINEAR))
        rows, columns = (np.asarray(mask) != VOID).nonzero()
        found = np.asarray(image)[rows.min() : rows.max() + 1, columns.min() : columns.max() + 1]
        assert (found == expected).all() or (found[:, ::-1] == expected).all()
    assert describe(parts.model).max_side == parts.evaluator.max_side == 20


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ({"crop_size": 0}, "crop_size=0 must be above 0"),
        ({"max_steps": 0}, "max_steps=0 must be above 0"),
        ({"max_side": 0}, "max_side=0 must be above 0"),
        ({"momentum": -1}, "momentum=-1 must be at least 0"),
        ({"batch_size": 4, "accumulate": 3}, "accumulate=3 does not divide batch_size=4"),
        ({"at_once": True, "model": "fcn32s"}, "at_once scales the skips of fcn8s"),
    ],
)
def test_bad_settings_are_refused(setting, message):
    with pytest.raises(InputError, match=message):
        TrainConfig(**setting)
