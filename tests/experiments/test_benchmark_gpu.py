"""What `experiments/benchmark/gpu.sh` measures, at a size that any machine can do."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from experiments.benchmark import compared, profile, workers
from experiments.benchmark.case import Case
from experiments.benchmark.profile import OUTSIDE, instructions

SCRIPT = Path(profile.__file__).with_name("gpu.sh")


@pytest.mark.slow
def test_a_profile_tells_layers_and_directions_apart():
    options = {"backbone_width": 8, "head_width": 64, "size": 64, "batch": 2}
    train = profile.profile(Case(verb="train", **options), calls=3)
    predict = profile.profile(Case(verb="predict", **options), calls=3)
    layers = {row["layer"]: row for row in train}
    assert {"block1_conv2", "fc6", "score_pool3", "upscore8", OUTSIDE} <= layers.keys()
    assert all(layers[name]["backward"] > 0 for name in ("block2_conv1", "fc6", "score_fr"))
    assert not any(row["backward"] for row in predict)
    assert sum(row["forward"] for row in predict) > 0


def test_scopes_of_instructions_name_the_layer():
    program = """
      %fusion.1 = f32[2]{0} fusion(%a), metadata={op_name="jit(step)/jvp(fc6)/max" id=1}
      %dot.2 = f32[2]{0} dot(%b), metadata={op_name="jit(step)/transpose(jvp(fc6))/dot"}
      ROOT %add.3 = f32[2]{0} add(%c), metadata={op_name="jit(step)/add"}
    """
    assert instructions(program, ["fc6", "fc7"]) == {
        "fusion.1": ("fc6", "forward"),
        "dot.2": ("fc6", "backward"),
        "add.3": (OUTSIDE, "forward"),
    }


def test_the_largest_batch_is_the_last_that_ran(monkeypatch):
    def compare(case, contenders, repeats, tell):
        if case.batch > 12:
            return [workers.Timing(contenders[0], error="out of memory")]
        return [workers.Timing(contenders[0], seconds=[0.1], peak_megabytes=5.0 * case.batch)]

    monkeypatch.setattr(workers, "compare", compare)

    def row(batch, **options):
        verb = compared.Largest(contenders=("ours",), **options)
        return verb.report(Case(verb="train", batch=batch), print).rows[0]

    found = row(2, limit=100)
    assert found["largest batch"] == 8 and found["then"] == "out of memory"
    assert found["images/s"] == 80 and found["peak MB"] == 40
    found = row(4, limit=8)
    assert found["largest batch"] == 8 and found["then"] == "limit of 8"
    found = row(16)
    assert found["largest batch"] == 0 and found["then"] == "out of memory"


@pytest.mark.slow
def test_the_script_runs_small_on_any_machine(tmp_path):
    small = "--backbone-width 2 --head-width 4 --sizes 32 --repeats 1 --matrix 64 --batches 2"
    data = {"WORKERS": "0", "DATA_OPTIONS": "--seconds 0.5", "LIMIT": "2", "CONTENDERS": "ours"}
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    done = subprocess.run(
        ["bash", str(SCRIPT), str(tmp_path), *small.split()],
        cwd=SCRIPT.parents[2],
        env={**os.environ, **data, "PATH": path},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    names = "train predict fed profile-train profile-predict roofline largest-train largest-predict"
    for name in names.split():
        report = json.loads((tmp_path / f"{name}.json").read_text())
        assert report["reports"] and report["machine"]["device"], name
    resident, fed = json.loads((tmp_path / "fed.json").read_text())["reports"][0]["rows"]
    assert (resident["batches"], fed["batches"]) == ("resident", "fed")
    share = fed["images/s"] / resident["images/s"]
    assert 0 < fed["% of resident"] == pytest.approx(100 * share)
