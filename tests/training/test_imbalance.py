"""Balanced weights, patience, the classes' columns in log.csv, and the user's own augmentation."""

import copy
import csv
import dataclasses
import json
import math
import threading

import numpy as np
import pytest

from fcn_keras import InputError
from fcn_keras.data.augmentation import Augmentation, OwnAugmentation, _compose
from fcn_keras.data.classes import SHAPES, VOID, ClassTable
from fcn_keras.data.labels import balanced_weights
from fcn_keras.training import train
from fcn_keras.training.log import COLUMNS, read_log, write_log


class Masks:
    def __init__(self, *masks, classes=4):
        self.masks = [np.array(mask, np.uint8) for mask in masks]
        self.classes = ClassTable.numbered(classes)

    def __len__(self):
        return len(self.masks)

    def __getitem__(self, index):
        return None, self.masks[index]


def test_balanced_weights_are_median_frequency():
    # Class 0: 30 of 40 labelled pixels where it is; class 1: 10 of 40 and 8 of 8; class 2: none.
    first = np.repeat([0, 1, VOID], [30, 10, 60]).reshape(10, 10)
    second = np.full((2, 4), 1)
    frequency = [30 / 40, 18 / 48]
    median = sum(frequency) / 2
    expected = [median / frequency[0], median / frequency[1], 1]
    assert balanced_weights(Masks(first, second, classes=3)) == pytest.approx(expected, abs=1e-4)


def test_balanced_weights_are_capped():
    mask = np.repeat([0, 1, 2], [500, 499, 1]).reshape(10, 100)
    assert balanced_weights(Masks(mask, classes=3))[2] == 10


@pytest.mark.slow
def test_balanced_weights_are_told_and_used(config, tmp_path, script):
    reporter = script(None, None)
    balanced = dataclasses.replace(config, class_weights="balanced", max_steps=2, loss="focal")
    train(balanced, tmp_path / "a", reporter=reporter)
    (line,) = [text for text in reporter.messages if text.startswith("Balanced class weights: ")]
    weights = [float(part.rstrip(".").split()[-1]) for part in line.split(",")]
    assert "background 0." in line and len(weights) == 6
    record = json.loads((tmp_path / "a/config.json").read_text())
    assert record["class_weights"] == pytest.approx(weights, abs=1e-3)
    assert record["config"]["class_weights"] == "balanced"
    numbers = dataclasses.replace(balanced, class_weights=tuple(weights))
    train(numbers, tmp_path / "b")
    losses = [read_log(tmp_path / run / "log.csv")[0]["train_loss"] for run in "ab"]
    assert losses[0] == pytest.approx(losses[1], rel=1e-3)


def test_log_has_the_iou_of_each_class(whole):
    rows = read_log(whole.folder.log, None)
    for row in rows:
        values = [row[f"iou/{name}"] for name in SHAPES.names]
        present = [value for value in values if not math.isnan(value)]
        assert row["mean_iou"] == pytest.approx(np.mean(present), rel=1e-6)
    assert read_log(whole.folder.log)[0].keys() == set(COLUMNS)


def test_rows_of_the_first_release_have_no_classes(tmp_path):
    old = dict.fromkeys(COLUMNS, 1)
    write_log(tmp_path / "log.csv", [old, {**old, "iou/a, b": 0.5}])
    first, second = read_log(tmp_path / "log.csv", None)
    assert math.isnan(first["iou/a, b"]) and second["iou/a, b"] == 0.5


@pytest.mark.slow
def test_patience_ends_a_run_and_a_resumed_one(config, tmp_path, script):
    stuck = dataclasses.replace(config, learning_rate=1e-9, patience=1, epochs=5)
    reporter = script(("validating", 3), None)

    class Interrupt(Exception):
        pass

    def interrupt():
        if (tmp_path / "log.csv").exists():  # the second validation
            raise Interrupt

    with pytest.raises(Interrupt):
        train(stuck, tmp_path, reporter=script(("validating", 3), interrupt))
    result = train(stuck, tmp_path, resume=True, reporter=(reporter := script(None, None)))
    assert result.steps == 6
    assert any("Stopped early at step 6 of 15: no better" in text for text in reporter.messages)
    again = train(stuck, tmp_path, resume=True)
    assert again.steps == 6
    with open(tmp_path / "log.csv") as file:
        assert [row["step"] for row in csv.DictReader(file)] == ["3", "6"]


def test_own_augmentation_equals_ours_if_it_is_the_same(config, tmp_path, assert_same_run):
    ours = _compose(Augmentation(crop_size=config.crop_size), threading.get_ident())
    # Crops far larger than these settings' scales would make differ, were ours used after all.
    settings = dataclasses.replace(config, min_scale=0.9, max_scale=1.0)
    train(settings, tmp_path / "run", augment=copy.deepcopy(ours))
    assert_same_run(tmp_path / "run")


class Plain:
    """Any callable that gives a dict; has the seeding of albumentations' successor."""

    def set_random_seed(self, seed):
        self.rng = np.random.default_rng(seed)

    def __call__(self, image, mask):
        top = self.rng.integers(0, image.shape[0] - 8)
        return {"image": image[top : top + 8, :8], "mask": mask[top : top + 8, :8]}


def test_own_augmentation_is_seeded_and_checked():
    image, mask = np.arange(40 * 40 * 3).reshape(40, 40, 3).astype(np.uint8), np.ones((40, 40))
    mask = mask.astype(np.uint8)
    augment = OwnAugmentation(Plain(), 8)
    first, again, other = (augment(image, mask, seed)[0] for seed in (5, 5, 6))
    np.testing.assert_array_equal(first, again)
    assert (first != other).any()
    with pytest.raises(InputError, match=r"augment gives an image uint8 \(8, 8, 3\) and a mask "):
        OwnAugmentation(Plain(), 16)(image, mask, 0)
