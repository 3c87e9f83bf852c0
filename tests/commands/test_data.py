import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

from fcn_keras.data.shapes import write_shapes

ROOT = Path(__file__).parents[2]


def command(*arguments) -> subprocess.CompletedProcess:
    return subprocess.run(
        [sys.executable, "-m", "experiments.data", *map(str, arguments)],
        cwd=ROOT,
        env={**os.environ, "COLUMNS": "120"},
        capture_output=True,
        text=True,
        timeout=120,
    )


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    root = tmp_path_factory.mktemp("data") / "shapes"
    write_shapes(root, train=4, val=2, size=32)
    return root


def test_check_prints_tables_and_writes_json(root, tmp_path):
    done = command("check", "--data-dir", root, "--json", tmp_path / "report.json")
    assert (done.returncode, done.stderr) == (0, "")
    assert "shapes train: 4 samples" in done.stdout and "samples: 6, problems: 0" in done.stdout
    report = json.loads((tmp_path / "report.json").read_text())
    split = report["splits"]["train"]
    assert sum(split["pixels"].values()) + split["void_pixels"] == 4 * 32 * 32
    assert f" {split['pixels']['background']} │" in done.stdout
    assert report["problems"] == []


def test_check_fails_where_something_is_wrong(tmp_path):
    write_shapes(tmp_path / "shapes", train=2, val=1, size=32)
    (tmp_path / "shapes/SegmentationClass/train_0001.png").unlink()
    done = command("check", "--data-dir", tmp_path / "shapes")
    assert done.returncode == 1
    assert "train_0001.png does not exist" in done.stdout
    assert "samples: 3, problems: 1" in done.stdout


@pytest.mark.slow
def test_browse_writes_a_picture(root, tmp_path):
    out = tmp_path / "sheet.png"
    done = command("browse", "--data-dir", root, "--crop-size", 16, "--out", out)
    assert (done.returncode, done.stdout.strip()) == (0, f"wrote {out}")
    with Image.open(out) as sheet:
        assert sheet.size == (4 * 36, 20)


@pytest.mark.slow
def test_names_from_files_are_shown_as_they_are(tmp_path):
    """Rich would take them for markup, and `[/x]` for the end of a tag that never began."""
    for name in ("images", "masks"):
        (tmp_path / name).mkdir()
        Image.new("L", (8, 8)).save(tmp_path / name / "a [red]b.png")
    (tmp_path / "classes.txt").write_text("road [/x]\n[red]car\n")
    (tmp_path / "val.txt").write_text("a [red]b\nno [red]c\n")
    done = command("check", "--dataset", "folder", "--data-dir", tmp_path, "--splits", "val")
    assert (done.returncode, done.stderr.count("\n")) == (2, 1) and "no [red]c" in done.stderr
    (tmp_path / "val.txt").write_text("a [red]b\na [red]b\n")
    done = command("check", "--dataset", "folder", "--data-dir", tmp_path, "--splits", "val")
    assert (done.returncode, done.stderr) == (1, "")
    assert all(
        name in done.stdout for name in ("road [/x]", "[red]car", "sample a [red]b is listed")
    )


def test_bad_input_is_one_line(tmp_path):
    done = command("check", "--dataset", "voc2012", "--data-dir", tmp_path)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.count("\n") == 1
    assert done.stderr.startswith(f"error: data folder {tmp_path} holds no ImageSets/Segmentation")
