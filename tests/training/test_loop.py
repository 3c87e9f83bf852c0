import csv
import dataclasses
import json

import keras
import numpy as np
import pytest

from fcn_keras import InputError
from fcn_keras.training import DivergedError, Reporter, train

TIMES = ("train_seconds", "val_seconds", "images_per_second")


class Interrupt(Exception):
    pass


class Stop(Reporter):
    """Breaks the run off when step `at` has ended."""

    def __init__(self, at):
        self.at = at

    def step(self, step, loss, images):
        if step == self.at:
            raise Interrupt


def weights(path):
    return [np.array(v.value) for v in keras.models.load_model(path).weights]


def rows(path):
    with open(path) as file:
        return [{k: v for k, v in row.items() if k not in TIMES} for row in csv.DictReader(file)]


@pytest.fixture(scope="module")
def config(small_shapes):
    from fcn_keras.training import TrainConfig

    return TrainConfig(
        data_dir=small_shapes,
        trunk_width=2,
        head_width=4,
        crop_size=32,
        batch_size=2,
        epochs=3,
        optimizer="adamw",
        learning_rate=0.02,
        bucket=64,
        checkpoint_steps=2,
    )


@pytest.fixture(scope="module")
def whole(config, tmp_path_factory):
    folder = tmp_path_factory.mktemp("whole")
    return train(config, folder / "run")


def test_leaves_the_run_folder(whole, config):
    record = json.loads(whole.folder.config.read_text())
    assert record["config"]["learning_rate"] == 0.02
    assert record["versions"]["keras"] == keras.__version__
    log = rows(whole.folder.log)
    assert [(row["epoch"], row["step"]) for row in log] == [("1", "3"), ("2", "6"), ("3", "9")]
    assert whole.best_mean_iou == max(float(row["mean_iou"]) for row in log)
    assert not list(whole.folder.path.glob("*tmp*"))


@pytest.mark.parametrize("at", [1, 3, 5, 8])
def test_resumed_run_is_bit_equal(whole, config, tmp_path, at):
    with pytest.raises(Interrupt):
        train(config, tmp_path, reporter=Stop(at))
    result = train(config, tmp_path, resume=True)
    assert rows(result.folder.log) == rows(whole.folder.log)
    for a, b in zip(weights(result.folder.best), weights(whole.folder.best), strict=True):
        np.testing.assert_array_equal(a, b)


def test_finished_run_resumes_to_nothing_and_then_for_more_epochs(config, tmp_path):
    constant = dataclasses.replace(config, schedule="constant")
    short = dataclasses.replace(constant, epochs=1)
    assert train(short, tmp_path).steps == 3
    assert train(short, tmp_path, resume=True).steps == 3
    assert train(constant, tmp_path, resume=True).steps == 9
    uninterrupted = train(constant, tmp_path / "whole")
    assert rows(tmp_path / "log.csv") == rows(uninterrupted.folder.log)


def test_max_steps_ends_within_an_epoch(config, tmp_path):
    result = train(dataclasses.replace(config, max_steps=4, max_val_images=2), tmp_path)
    assert [row["step"] for row in rows(result.folder.log)] == ["3", "4"]


def test_infinite_loss_names_step_and_images(config, tmp_path):
    diverging = dataclasses.replace(config, optimizer="sgd", learning_rate=1e30)
    with pytest.raises(DivergedError, match=r"at step \d+, learning rate .*images train_000"):
        train(diverging, tmp_path)


def test_refuses_a_folder_with_a_run(whole, config):
    with pytest.raises(InputError, match="already holds a run: add --resume"):
        train(config, whole.folder.path)


def test_refuses_to_resume_nothing(config, tmp_path):
    with pytest.raises(InputError, match="holds no run to resume"):
        train(config, tmp_path, resume=True)


def test_refuses_to_resume_with_another_setting(whole, config):
    with pytest.raises(InputError, match=r"crop_size=64 differs from the run .* which has 32"):
        train(dataclasses.replace(config, crop_size=64), whole.folder.path, resume=True)


def test_refuses_a_folder_that_cannot_be_made(config, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match=r"workdir .*file/run can't be written"):
        train(config, tmp_path / "file" / "run")
