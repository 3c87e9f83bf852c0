"""What a resumed run looks at before it goes on: its data, its records, its best model."""

import dataclasses
import json
import shutil

import pytest

from fcn_keras import InputError
from fcn_keras.training import train
from fcn_keras.training.log import read_log
from fcn_keras.training.run_folder import RunFolder


class Interrupt(Exception):
    pass


def interrupt():
    raise Interrupt


@pytest.fixture(scope="module")
def begun(config, small_shapes, tmp_path_factory):
    """A run that stopped at step 5 of 9, behind checkpoint 4 and the validation of step 3."""
    from tests.training.conftest import Script

    root = tmp_path_factory.mktemp("begun")
    with pytest.raises(Interrupt):
        train(config, root / "run", reporter=Script(("step", 5), interrupt))
    return root / "run"


@pytest.fixture
def run(begun, tmp_path):
    return shutil.copytree(begun, tmp_path / "run")


@pytest.fixture
def data(config, tmp_path):
    return shutil.copytree(config.data_dir, tmp_path / "data")


def unlist(data):
    path = data / "ImageSets/Segmentation/train.txt"
    path.write_text("\n".join(path.read_text().split()[1:]) + "\n")


def reorder(data):
    path = data / "ImageSets/Segmentation/train.txt"
    path.write_text("\n".join(reversed(path.read_text().split())) + "\n")


def shorten(data):
    path = data / "ImageSets/Segmentation/val.txt"
    path.write_text("\n".join(path.read_text().split()[:-1]) + "\n")


def replace_image(data):
    path = data / "JPEGImages/train_0002.jpg"
    path.write_bytes(path.read_bytes() + b"x")


def replace_mask(data):
    path = data / "SegmentationClass/val_0001.png"
    path.write_bytes(path.read_bytes() + b"x")


@pytest.mark.parametrize(
    ("change", "difference"),
    [
        (unlist, "train .* sample train_0001 in place of sample train_0000 \\(5 samples in all"),
        (
            reorder,
            "train .* sample train_0005 in place of sample train_0000 \\(6 samples",
        ),
        (shorten, "val .* no sample in place of sample val_0002 \\(2 samples"),
        (replace_image, r"train .* image train_0002 has \d+ bytes, \d+ before"),
        (replace_mask, r"val .* mask val_0001 has \d+ bytes, \d+ before"),
    ],
)
def test_changed_data_are_refused_by_name(config, run, data, change, difference):
    change(data)
    with pytest.raises(InputError, match="split " + difference) as caught:
        train(dataclasses.replace(config, data_dir=data), run, resume=True)
    assert "\n" not in str(caught.value)


def test_a_copy_of_the_data_is_the_same_data(config, run, data, assert_same_run):
    train(dataclasses.replace(config, data_dir=data), run, resume=True)
    assert_same_run(run)


def test_drafts_of_a_killed_run_go(config, run):
    for name in (".best-1.keras", ".log-1.csv", ".last_row-1.json", ".data-1.json"):
        (run / name).write_text("a beginning")
    train(config, run, resume=True)
    assert not list(run.glob(".*"))


def test_other_versions_are_named(config, run, script):
    record = json.loads((run / "config.json").read_text())
    record["versions"]["optax"] = "0.0.1"
    (run / "config.json").write_text(json.dumps(record))
    reporter = script(("step", 6), interrupt)
    with pytest.raises(Interrupt):
        train(config, run, resume=True, reporter=reporter)
    (warning,) = [text for text in reporter.messages if "Warning" in text]
    assert warning.startswith("Warning: optax ") and " in place of 0.0.1: " in warning


@pytest.mark.parametrize("name", ["config.json", "data.json"])
@pytest.mark.parametrize("text", ["", "{", "[]", '{"config": 1}', "[" * 100_000, "\x00\xff"])
def test_a_damaged_record_is_one_line(config, run, name, text):
    (run / name).write_text(text)
    with pytest.raises(InputError, match=rf"{name} is damaged \(.*\): restore it, or") as caught:
        train(config, run, resume=True)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("resume", [True, False])
def test_checkpoints_without_settings_are_refused(config, run, resume):
    (run / "config.json").unlink()
    with pytest.raises(InputError, match=r"holds checkpoints, but no config.json to say which"):
        train(dataclasses.replace(config, learning_rate=9.0), run, resume=resume)


@pytest.mark.slow
def test_an_edited_log_is_not_believed(config, run, assert_same_run):
    log = (run / "log.csv").read_text()
    (run / "log.csv").write_text(log.replace(log.split(",")[-5], "0.999"))
    (run / "last_row.json").write_text((run / "last_row.json").read_text().replace("1", "2"))
    train(config, run, resume=True)
    assert_same_run(run)


@pytest.mark.parametrize("damage", ["missing", "cut off", "flipped"])
def test_a_lost_best_model_is_noticed_and_another_kept(config, run, script, whole, damage):
    best = run / "best.keras"
    content = bytearray(best.read_bytes())
    if damage == "missing":
        best.unlink()
    elif damage == "cut off":
        best.write_bytes(content[: len(content) // 2])
    else:
        content[len(content) // 2] ^= 1
        best.write_bytes(content)
    reporter = script(None, None)
    result = train(config, run, resume=True, reporter=reporter)
    (warning,) = [text for text in reporter.messages if "best.keras" in text]
    kind = "is missing" if damage == "missing" else "is damaged ("
    assert f"best.keras {kind}" in warning and "from here on is kept" in warning
    scores = [row["mean_iou"] for row in read_log(run / "log.csv")]
    assert scores == [row["mean_iou"] for row in read_log(whole.folder.log)]
    assert result.best_mean_iou == max(scores[1:])
    assert result.folder.fault_of_best() is None


def test_the_best_model_of_a_finished_run_is_made_again(config, whole, tmp_path):
    run = shutil.copytree(whole.folder.path, tmp_path / "run")
    (run / "best.keras").unlink()
    result = train(config, run, resume=True)
    rows = read_log(run / "log.csv")
    assert result.best_mean_iou == rows[-1]["mean_iou"]
    assert rows[-1]["train_loss"] == read_log(whole.folder.log)[-1]["train_loss"]
    assert (run / "best.keras").exists()


@pytest.mark.parametrize("text", ["", "{}", "[]", '{"row": 3}', "[" * 100_000, "\x00\xff"])
def test_a_damaged_row_is_no_row(tmp_path, text):
    folder = RunFolder(tmp_path)
    folder.write_row({"step": 3, "mean_iou": 0.5})
    assert folder.read_row(3) == {"step": 3, "mean_iou": 0.5} and folder.read_row(6) is None
    folder.row.write_text(text)
    assert folder.read_row(3) is None
