"""Several devices, and several processes on one machine, against one device."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from fcn_keras.data.shapes import write_shapes
from fcn_keras.training.distributed import HEARTBEAT_SECONDS

pytestmark = pytest.mark.slow
ROOT = Path(__file__).parents[2]


def start(arguments, devices=1, process=None, port=None):
    environment = {
        **os.environ,
        "XLA_FLAGS": f"--xla_force_host_platform_device_count={devices}",
        "JAX_DISABLE_MOST_OPTIMIZATIONS": "0",
        "JAX_PLATFORMS": "cpu",
        "TF_CPP_MIN_LOG_LEVEL": "3",
    }
    if process is not None:
        environment |= {
            "JAX_COORDINATOR_ADDRESS": f"127.0.0.1:{port}",
            "JAX_NUM_PROCESSES": "2",
            "JAX_PROCESS_ID": str(process),
        }
    return subprocess.Popen(
        [sys.executable, "-m", *map(str, arguments)],
        cwd=ROOT,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def start_two(arguments, devices=1):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    return [start(arguments, devices, process, port) for process in (0, 1)]


def answer(worker):
    out, err = worker.communicate(timeout=300)
    assert worker.returncode == 0, err[-3000:]
    return json.loads(out.splitlines()[-1])


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    root = tmp_path_factory.mktemp("data") / "shapes"
    write_shapes(root, train=8, val=5, size=48)
    return root


@pytest.fixture(scope="module")
def one(data, tmp_path_factory):
    run = tmp_path_factory.mktemp("one") / "run"
    return answer(start(["tests.training.device_worker", run, data]))


def assert_same(found, one):
    """Same losses to 1e-5; the same metrics exactly, of trained and of made-up weights."""
    assert found["steps"] == one["steps"] == 4
    assert found["losses"] == pytest.approx(one["losses"], rel=1e-5)
    assert found["best_mean_iou"] == one["best_mean_iou"]
    assert len({value for value in one["scores"]["iou"].values() if value}) > 2
    for name, value in one["scores"].items():
        assert found["scores"][name] == (pytest.approx(value) if name == "loss" else value)


def test_devices_share_the_batch(one, data, tmp_path):
    worker = start(["tests.training.device_worker", tmp_path / "run", data], devices=4)
    found = answer(worker)
    assert found["devices"] == 4
    assert found["first_batch"] == one["first_batch"]
    assert_same(found, one)


def test_processes_share_the_batch_and_the_first_one_writes(one, data, tmp_path):
    workers = start_two(["tests.training.device_worker", tmp_path / "run", data])
    first, second = [answer(worker) for worker in workers]
    assert first["devices"] == second["devices"] == 2
    assert first["first_batch"] + second["first_batch"] == one["first_batch"]
    assert second["losses"] == []
    assert_same(first, one)
    assert second["scores"] == first["scores"]
    assert second["best_mean_iou"] == first["best_mean_iou"]


def command(data, run, *more):
    narrow = "--backbone-width 2 --head-width 4 --crop-size 32 --batch-size 4 --bucket 64"
    return [
        *("experiments.train", "--data-dir", data, "--workdir", run, *narrow.split()),
        *("--eval-batch-size", "1", "--schedule", "constant", *more),
    ]


def wait_for_checkpoint(worker, run):
    while not (saved := [p for p in run.glob("checkpoints/*") if p.name.isdigit()]):
        assert worker.poll() is None, worker.communicate()
        time.sleep(0.05)
    return saved


@pytest.mark.parametrize("victim", [0, 1])
def test_a_killed_process_ends_the_other_and_the_run_resumes(data, tmp_path, victim):
    run = tmp_path / "run"
    workers = start_two(command(data, run, "--epochs", "2000", "--distributed"))
    wait_for_checkpoint(workers[0], run)
    workers[victim].kill()
    killed = time.perf_counter()
    other = workers[1 - victim]
    _, error = other.communicate(timeout=HEARTBEAT_SECONDS + 30)
    seconds = time.perf_counter() - killed
    workers[victim].communicate()
    print(f"killed process {victim}: the other ended after {seconds:.1f} s, with {error[-400:]}")
    assert other.returncode not in (0, None)
    assert seconds < HEARTBEAT_SECONDS + 10
    # On with another number of devices.
    worker = start(command(data, run, "--epochs", "2", "--resume"), devices=4)
    out, err = worker.communicate(timeout=300)
    assert worker.returncode == 0, err[-3000:]
    assert "Resumed at step" in out


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_to_one_process_stops_both_at_one_step(data, tmp_path, number):
    run = tmp_path / "run"
    workers = start_two(command(data, run, "--epochs", "2000", "--distributed"))
    wait_for_checkpoint(workers[0], run)
    workers[1].send_signal(number)
    errors = [worker.communicate(timeout=120)[1] for worker in workers]
    assert [worker.returncode for worker in workers] == [143, 128 + number]
    steps = {error.split("after step ")[1].split(",")[0] for error in errors}
    assert len(steps) == 1
    assert (run / "checkpoints" / steps.pop()).is_dir()
