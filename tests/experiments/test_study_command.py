import json
import subprocess
import sys
from pathlib import Path

import pytest

import fcn_keras
from experiments.study.plans import PLANS
from fcn_keras.data import open_dataset
from fcn_keras.storage import locked

ROOT = Path(__file__).parents[2]


def study(*arguments):
    command = [sys.executable, "-m", "experiments.study", *map(str, arguments)]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=900)


@pytest.mark.slow
@pytest.mark.usefixtures("optimized")
def test_two_stages_are_trained_scored_and_collected_once(tmp_path):
    first = study("shapes", "--out", tmp_path, "--only", "shapes-32s")
    assert first.returncode == 0, first.stderr
    assert study("shapes", "--out", tmp_path).stdout.count("experiments.train") == 1
    again = study("shapes", "--out", tmp_path)
    assert again.returncode == 0 and "experiments.train" not in again.stdout

    collected = tmp_path / "collected"
    scores = json.loads((collected / "shapes-8s" / "scores-val.json").read_text())
    coarse = json.loads((collected / "shapes-32s" / "scores-val.json").read_text())
    assert scores["mean_iou"] > 0.75 > coarse["mean_iou"] + 0.3
    table = (collected / "results.md").read_text()
    row = next(line for line in table.splitlines() if line.startswith("| shapes-8s | shapes"))
    assert f"| val | {100 * scores['pixel_accuracy']:.1f} |" in row
    assert f"| circle | {100 * scores['iou']['circle']:.1f} |" in table

    parts = sorted((collected / "shapes-8s").glob("best.safetensors.*"))
    whole = tmp_path / "whole.safetensors"
    whole.write_bytes(b"".join(part.read_bytes() for part in parts))
    exact = fcn_keras.Segmenter(tmp_path / "shapes-8s" / "best.keras")
    photo, _ = open_dataset("shapes", split="val")[0]
    same = fcn_keras.Segmenter(whole)(photo) == exact(photo)
    assert same.mean() > 0.99


@pytest.mark.slow
def test_what_a_run_needs_is_asked_for(tmp_path):
    answer = study("cpu", "--out", tmp_path, "--only", "voc")
    assert answer.returncode == 2
    assert "error: run voc needs --voc2012, the folder of the data set" in answer.stderr
    answer = study("cpu", "--out", tmp_path, "--only", "voc", "--voc2012", tmp_path)
    assert "error: run voc needs --weights, torchvision's VGG16" in answer.stderr


@pytest.mark.parametrize("plan", PLANS)
def test_a_run_starts_from_one_before_it(plan):
    names = [run.name for run in PLANS[plan]]
    assert len(set(names)) == len(names)
    for index, run in enumerate(PLANS[plan]):
        assert run.start is None or run.start in names[:index]


@pytest.mark.slow
def test_a_folder_in_which_another_study_runs_is_refused(tmp_path):
    with locked(tmp_path, "--out"):
        answer = study("shapes", "--out", tmp_path)
    assert answer.returncode == 2
    assert f"error: --out {tmp_path} is in use by process" in answer.stderr
