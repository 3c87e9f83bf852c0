"""Four images are learned by heart: the whole path from pixels to classes can be right."""

import dataclasses

import jax.numpy as jnp
import numpy as np
import pytest

from fcn_keras import Segmenter
from fcn_keras.data import open_dataset
from fcn_keras.evaluation import ConfusionMatrix
from fcn_keras.training import (
    TrainConfig,
    init_state,
    make_optimizer,
    make_step,
    write_back,
)
from fcn_keras.training.setup import build_model

CONFIG = TrainConfig(
    backbone_width=16,
    head_width=256,
    dropout=0.0,
    optimizer="adamw",
    learning_rate=1e-3,
    weight_decay=0.0,
    warmup_steps=10,
    clip_norm=5.0,
)


@pytest.mark.slow
def test_four_shapes_reach_95_percent():
    assert overfit(CONFIG, open_dataset("shapes", None, "train"), size=64, steps=120) > 0.95


@pytest.mark.slow
@pytest.mark.usefixtures("optimized")
def test_four_photos_reach_95_percent(shared_data, shared_weights):
    config = dataclasses.replace(
        CONFIG, backbone_width=64, weights=shared_weights, freeze_until="block2", backbone_rate=0.2
    )
    source = open_dataset("voc2012", shared_data / "VOC2012", "train")
    assert overfit(config, source, size=96, steps=40) > 0.95


def overfit(config, source, size, steps):
    """Mean IoU on the centres of the first four images after training on nothing else."""
    images, masks = zip(*(center(*source[index], size) for index in range(4)), strict=True)
    batch = {"image": jnp.asarray(np.stack(images)), "mask": jnp.asarray(np.stack(masks))}
    classes = len(source.classes)
    model, optimizer = build_model(config, classes), make_optimizer(config, steps)
    state, step = init_state(model, optimizer), make_step(model, optimizer, config)
    for _ in range(steps):
        state, _ = step(state, batch)
    write_back(state, model)

    confusion, segment = ConfusionMatrix(classes), Segmenter(model)
    for image, mask in zip(images, masks, strict=True):
        confusion.update(mask, segment(image))
    scores = confusion.scores()
    assert np.count_nonzero(~np.isnan(scores.iou)) >= 4
    return scores.mean_iou


def center(image, mask, size):
    top, left = ((length - size) // 2 for length in mask.shape)
    window = np.s_[top : top + size, left : left + size]
    return image[window], mask[window]
