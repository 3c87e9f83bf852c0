import csv

import keras
import numpy as np
import pytest

from fcn_keras.data.shapes import write_shapes
from fcn_keras.training import Reporter, TrainConfig, train
from fcn_keras.training.run_folder import RunFolder

TIMES = ("train_seconds", "val_seconds", "images_per_second")


@pytest.fixture(scope="session")
def small_shapes(tmp_path_factory):
    """Six training and three validation images of about 48 x 48 pixels."""
    root = tmp_path_factory.mktemp("data") / "shapes"
    write_shapes(root, train=6, val=3, size=48)
    return root


@pytest.fixture
def tiny(small_shapes):
    """A configuration that trains in seconds: 2 epochs of 3 steps."""
    return TrainConfig(
        dataset="shapes",
        data_dir=small_shapes,
        backbone_width=2,
        head_width=4,
        crop_size=32,
        batch_size=2,
        epochs=2,
        optimizer="adamw",
        learning_rate=0.01,
        bucket=64,
    )


@pytest.fixture(scope="session")
def config(small_shapes):
    """A run of 3 epochs of 3 steps with a checkpoint every second step."""
    return TrainConfig(
        data_dir=small_shapes,
        backbone_width=2,
        head_width=4,
        crop_size=32,
        batch_size=2,
        epochs=3,
        optimizer="adamw",
        learning_rate=0.02,
        bucket=64,
        checkpoint_steps=2,
    )


@pytest.fixture(scope="session")
def whole(config, tmp_path_factory):
    """The result of that run without a break."""
    return train(config, tmp_path_factory.mktemp("whole") / "run")


@pytest.fixture
def same_outcome():
    """Asserts that two runs' folders have the log's rows and the best weights in common."""

    def rows(path):
        with open(path) as file:
            return [
                {k: v for k, v in row.items() if k not in TIMES} for row in csv.DictReader(file)
            ]

    def weights(path):
        return [np.array(v.value) for v in keras.models.load_model(path).weights]

    def check(folder, expected):
        assert rows(folder.log) == rows(expected.log)
        for a, b in zip(weights(folder.best), weights(expected.best), strict=True):
            np.testing.assert_array_equal(a, b)

    return check


@pytest.fixture
def assert_same_run(whole, same_outcome):
    """Asserts that a run ended with the log's rows and the best weights of the whole one."""
    return lambda folder: same_outcome(RunFolder(folder), whole.folder)


class Script(Reporter):
    """Calls ``act()`` once, at the event, and collects the messages."""

    def __init__(self, event, act):
        self.event, self.act = event, act
        self.messages = []

    def _happened(self, *event):
        if event == self.event:
            self.act()

    def step(self, step, loss, images):
        self._happened("step", step)

    def validating(self, done, total):
        self._happened("validating", done)

    def message(self, text):
        self.messages.append(text)


@pytest.fixture
def script():
    return Script


@pytest.fixture(autouse=True)
def fresh_names():
    keras.backend.clear_session()
