import csv
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

ROOT = Path(__file__).parents[2]
COLUMNS = (
    *("epoch", "step", "train_loss", "val_loss", "mean_iou"),
    *("train_seconds", "val_seconds", "images_per_second"),
)


def summarize(*arguments):
    return subprocess.run(
        [sys.executable, "-m", "experiments.summarize", *map(str, arguments)],
        cwd=ROOT,
        env={**os.environ, "COLUMNS": "200"},
        capture_output=True,
        text=True,
        timeout=120,
    )


def write_run(path, scores, recipe="shapes"):
    path.mkdir()
    record = {"recipe": recipe, "config": {"model": "fcn8s"}}
    (path / "config.json").write_text(json.dumps(record))
    with (path / "log.csv").open("w") as file:
        writer = csv.writer(file)
        writer.writerow(COLUMNS)
        for index, score in enumerate(scores, 1):
            writer.writerow(
                [index, 50 * index, 1 / index, 2 / index, score, 1800, 10.4, 20 + index]
            )


def test_tabulates_and_draws(tmp_path):
    write_run(tmp_path / "worse", [0.25, 0.375, 0.3125])
    write_run(tmp_path / "better", [0.5, 0.75], recipe=None)
    (tmp_path / "not a run").mkdir()
    out = tmp_path / "curves.png"
    done = summarize(tmp_path, "--out", out)
    assert done.returncode == 0, done.stderr
    cells = [[cell.strip() for cell in line.split("│")[1:-1]] for line in done.stdout.splitlines()]
    assert [row for row in cells if row] == [
        ["better", "-", "fcn8s", "75.00", "100", "100", "1:00:21", "22.0"],
        ["worse", "shapes", "fcn8s", "37.50", "100", "150", "1:30:31", "23.0"],
    ]
    with Image.open(out) as image:
        assert image.size == (1440, 432)


@pytest.mark.parametrize(
    ("prepare", "message"),
    [
        (lambda run: None, "has no config.json and no run folders in it"),
        (
            lambda run: (run / "config.json").write_text("{}"),
            "log.csv is missing: let the run",
        ),
    ],
)
def test_errors_are_one_line(tmp_path, prepare, message):
    prepare(tmp_path)
    done = summarize(tmp_path, "--out", tmp_path / "out.png")
    assert done.returncode == 2
    assert (
        done.stderr.startswith("error: ")
        and str(tmp_path) in done.stderr
        and message in done.stderr
    )
    assert done.stderr.count("\n") == 1
