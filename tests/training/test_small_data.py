"""What training says and does where the user's photos are few, or their masks say nothing."""

import dataclasses

import numpy as np
import pytest
from PIL import Image

from fcn_keras import InputError
from fcn_keras.training import train


@pytest.fixture
def own(tiny, tmp_path):
    """Settings for five photos for training and two for validation."""
    for folder in ("images", "masks"):
        (tmp_path / folder).mkdir()
    (tmp_path / "classes.txt").write_text("ground\ntree\n")
    rng = np.random.default_rng(0)
    for index in range(7):
        image, mask = rng.integers(0, 256, (40, 40, 3)), rng.integers(0, 2, (40, 40))
        Image.fromarray(image.astype(np.uint8)).save(tmp_path / f"images/{index}.png")
        Image.fromarray(mask.astype(np.uint8)).save(tmp_path / f"masks/{index}.png")
    (tmp_path / "train.txt").write_text("0\n1\n2\n3\n4\n")
    (tmp_path / "val.txt").write_text("5\n6\n")
    return dataclasses.replace(tiny, dataset="folder", data_dir=tmp_path)


def paint(own, value, names):
    for name in names:
        mask = Image.fromarray(np.full((40, 40), value, np.uint8))
        mask.save(own.data_dir / f"masks/{name}.png")


@pytest.mark.parametrize(("names", "split"), [("01234", "train"), ("56", "val")])
def test_refuses_a_split_without_a_labelled_pixel(own, tmp_path, names, split):
    paint(own, 255, names)
    with pytest.raises(InputError, match=f"split {split} has no labelled pixel in {len(names)}"):
        train(own, tmp_path / "run")
    assert not (tmp_path / "run").exists()


@pytest.mark.slow
def test_warns_of_one_class_and_shrinks_the_batch_and_trains(own, tmp_path, script):
    paint(own, 1, "56")
    large = dataclasses.replace(own, batch_size=16, accumulate=2, epochs=1, warmup_steps=3)
    reporter = script(None, None)
    result = train(large, tmp_path / "run", reporter=reporter)
    assert result.steps == 1
    said = "\n".join(reporter.messages)
    assert "Warning: every labelled pixel of split val is tree, and no score means" in said
    assert "The split has 5 samples only: batch_size is 4, not 16." in said
    assert "Warning: warm-up takes 3 of the run's 1 steps: shorten it, or train longer." in said
