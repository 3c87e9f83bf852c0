"""Files written by the first release's code (commit 120ff7a) load, score and resume as they did.

`before.tar.xz` holds three narrow models with random weights, one of them as a compact file and as
weights too, a run folder that stopped after 4 of 8 steps, the log of the same run without the
break, and in `expected.npz` the logits that the code of then gave for one small image.
"""

import dataclasses
import json
import tarfile
from pathlib import Path

import keras
import numpy as np
import pytest

import fcn_keras
from fcn_keras.training import TrainConfig, train

HERE = Path(__file__).parent


@pytest.fixture(scope="module")
def before(tmp_path_factory):
    folder = tmp_path_factory.mktemp("before")
    with tarfile.open(HERE / "before.tar.xz") as archive:
        archive.extractall(folder, filter="data")
    return folder


@pytest.fixture(scope="module")
def expected(before):
    return dict(np.load(before / "expected.npz"))


def close(logits, expected):
    """Equal but for what another processor's vector units round differently."""
    return np.abs(logits - expected).max() <= 2e-6 * np.ptp(expected)


@pytest.mark.parametrize(
    "name",
    [
        "fcn8s",
        pytest.param("fcn16s_caffe", marks=pytest.mark.slow),
        pytest.param("fcn8s_batch_norm", marks=pytest.mark.slow),
    ],
)
def test_models_give_the_same_logits(before, expected, name):
    model = keras.models.load_model(before / f"{name}.keras")
    logits = np.asarray(model(expected["image"][None].astype(np.float32), training=False))[0]
    assert close(logits, expected[name])


@pytest.mark.slow
def test_a_compact_file_gives_the_same_logits(before, expected):
    segment = fcn_keras.Segmenter(before / "fcn8s.safetensors")
    assert close(segment.logits(expected["image"]), expected["compact"])


@pytest.mark.slow
def test_a_weights_file_gives_the_same_logits(before, expected):
    model = fcn_keras.fcn8s(6, trunk_width=1, head_width=3)
    fcn_keras.load_weights(model, before / "fcn8s.weights.h5")
    logits = fcn_keras.Segmenter(model).logits(expected["image"])
    assert close(logits, expected["fcn8s"])


@pytest.mark.slow
def test_a_run_folder_resumes_to_the_same_scores(before, tmp_path):
    record = json.loads((before / "run" / "config.json").read_text())["config"]
    config = TrainConfig(**record)
    assert (config.backbone_width, config.backbone_rate) == (1, 1.0)
    # Its recipe may have a `max_side` by now.
    now = dataclasses.replace(config, max_steps=8, max_side=16)
    result = train(now, before / "run", resume=True)
    assert result.steps == 8
    last = (before / "run" / "log.csv").read_text().splitlines()[-1].split(",")
    unbroken = (before / "reference_log.csv").read_text().splitlines()[-1].split(",")
    scores = slice(4, 9)  # validation loss, and the four metrics
    np.testing.assert_allclose(
        [float(x) for x in last[scores]], [float(x) for x in unbroken[scores]], rtol=1e-6
    )
