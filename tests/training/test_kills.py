"""One kill quickly, and the kill matrix, which runs by itself too (see kill_matrix.py)."""

import pickle
import random
import subprocess
import sys
import time

import pytest

from fcn_keras.training import train
from tests.training import kill_matrix

TRAIN = """
import pickle, sys
from fcn_keras.training import train
train(*pickle.load(sys.stdin.buffer))
"""


@pytest.mark.slow
def test_killed_while_writing_a_checkpoint(config, tmp_path, assert_same_run):
    run = tmp_path / "run"
    with subprocess.Popen([sys.executable, "-c", TRAIN], stdin=subprocess.PIPE) as worker:
        pickle.dump((config, run), worker.stdin)
        worker.stdin.close()
        while not list(run.glob("checkpoints/3.*tmp*")):
            assert worker.poll() is None
            time.sleep(0.0005)
        worker.kill()
    assert not (run / "best.keras").exists()
    train(config, run, resume=True)
    assert_same_run(run)


@pytest.fixture(scope="module")
def matrix(tmp_path_factory):
    return kill_matrix.Matrix(tmp_path_factory.mktemp("kills"))


def check(outcome, kills=1):
    assert len(outcome.kills) >= kills and not outcome.differences, outcome


@pytest.mark.slow
def test_killed_at_each_kind_of_moment(matrix):
    """One run: those of the matrix's own cases one after the other."""
    moments = ["step 1", "write 8", "step 9", "validating 0 of epoch 2"]
    moments += ["validating 2 of epoch 3", "epoch 3", f"write {kill_matrix.LAST_STEP}"]
    check(matrix.case("each", moments), len(moments))


@pytest.mark.slow
def test_killed_with_workers(matrix):
    moments = kill_matrix.FIXED["two workers"]
    check(matrix.case("two workers", moments), len(moments))


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(2))
def test_killed_at_a_random_moment(matrix, seed):
    moment = random.Random(seed).uniform(0, matrix.seconds / 2)
    while not (outcome := matrix.case(f"random {seed} at {moment}", [moment])).kills:
        moment /= 2  # the run was over, now that the machine has less to do
    check(outcome)


@pytest.mark.slow
def test_killed_again_and_again(matrix):
    check(matrix.storm("storm", random.Random(1)))
