import csv
import dataclasses
import json

import keras
import pytest

import fcn_keras
from fcn_keras import InputError
from fcn_keras.data.classes import SHAPES
from fcn_keras.storage import locked
from fcn_keras.training import train


class Interrupt(Exception):
    pass


def interrupt():
    raise Interrupt


def rows(path):
    with open(path) as file:
        return list(csv.DictReader(file))


def test_leaves_the_run_folder(whole, config):
    record = json.loads(whole.folder.config.read_text())
    assert record["config"]["learning_rate"] == 0.02
    assert record["versions"]["keras"] == keras.__version__
    log = rows(whole.folder.log)
    assert [(row["epoch"], row["step"]) for row in log] == [("1", "3"), ("2", "6"), ("3", "9")]
    assert whole.best_mean_iou == max(float(row["mean_iou"]) for row in log)
    assert not list(whole.folder.path.glob("*tmp*"))


def test_the_best_model_knows_its_classes_and_its_scores(whole, config):
    info = fcn_keras.describe(keras.models.load_model(whole.folder.best))
    assert info.classes == SHAPES
    assert (info.dataset, info.split) == ("shapes", "val")
    best = max(rows(whole.folder.log), key=lambda row: float(row["mean_iou"]))
    assert info.scores.keys() == {"pixel_accuracy", "mean_accuracy", "mean_iou", "fw_iou"}
    assert all(info.scores[name] == float(best[name]) for name in info.scores)


def test_validates_every_second_epoch_and_after_the_last(config, whole, tmp_path, script):
    rare = dataclasses.replace(config, val_epochs=2)
    with pytest.raises(Interrupt):
        train(rare, tmp_path, reporter=script(("step", 4), interrupt))
    train(rare, tmp_path, resume=True)
    log, every = rows(tmp_path / "log.csv"), rows(whole.folder.log)
    assert [row["step"] for row in log] == ["6", "9"]
    assert [row["val_loss"] for row in log] == [row["val_loss"] for row in every[1:]]
    losses = [float(row["train_loss"]) for row in every]
    assert min(losses[:2]) < float(log[0]["train_loss"]) < max(losses[:2])
    assert log[1]["train_loss"] == every[2]["train_loss"]


SLOW = pytest.mark.slow


@pytest.mark.parametrize("at", [pytest.param(1, marks=SLOW), 3, 5, pytest.param(8, marks=SLOW)])
def test_resumed_run_is_bit_equal(config, tmp_path, assert_same_run, script, at):
    with pytest.raises(Interrupt):
        train(config, tmp_path, reporter=script(("step", at), interrupt))
    train(config, tmp_path, resume=True)
    assert_same_run(tmp_path)


@pytest.mark.slow
def test_finished_run_resumes_to_nothing_and_then_for_more_epochs(config, tmp_path):
    constant = dataclasses.replace(config, schedule="constant")
    short = dataclasses.replace(constant, epochs=1)
    assert train(short, tmp_path).steps == 3
    assert train(short, tmp_path, resume=True).steps == 3
    assert train(constant, tmp_path, resume=True).steps == 9
    uninterrupted = train(constant, tmp_path / "whole")
    times = {"train_seconds", "val_seconds", "images_per_second"}
    for row, expected in zip(
        rows(tmp_path / "log.csv"), rows(uninterrupted.folder.log), strict=True
    ):
        assert all(row[name] == expected[name] for name in row.keys() - times)


@pytest.mark.slow
def test_max_steps_ends_within_an_epoch(config, tmp_path, script):
    short = dataclasses.replace(config, max_steps=4, max_val_images=2, learning_rate=1e-5)
    reporter = script(None, None)
    result = train(short, tmp_path, reporter=reporter)
    log = rows(result.folder.log)
    assert [row["step"] for row in log] == ["3", "4"]
    # So small a rate leaves the scores at zero, where the first class wins everywhere.
    warning = (
        "Warning: no pixel was correct except those of background: the model predicts one class"
    )
    assert sum(text.startswith(warning) for text in reporter.messages) == 1


def test_refuses_a_folder_with_a_run(whole, config):
    with pytest.raises(InputError, match="already holds a run: continue it with resume=True"):
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


def test_refuses_a_folder_in_which_another_run_trains(config, tmp_path, script):
    def second():
        with pytest.raises(InputError, match=r"workdir .*/run is in use by process \d+ on "):
            train(config, tmp_path / "run", resume=True)
        raise Interrupt

    with pytest.raises(Interrupt):
        train(config, tmp_path / "run", reporter=script(("step", 1), second))
    with (
        locked(tmp_path / "new", "workdir"),
        pytest.raises(InputError, match=r"workdir .*/new is in use by process \d+ on "),
    ):
        train(config, tmp_path / "new")
