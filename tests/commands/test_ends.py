"""However a training run with worker processes ends, no process and no shared memory stays."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from fcn_keras.data.shapes import write_shapes

ROOT = Path(__file__).parents[2]
NARROW = "--trunk-width 2 --head-width 4 --crop-size 32 --batch-size 2 --bucket 64 --workers 2"
PRIVATE = ["unshare", "--user", "--map-root-user", "--mount"]


@pytest.fixture
def shared_memory(tmp_path):
    """A folder that stands for /dev/shm in the run alone, so that others' files don't count."""
    if (
        sys.platform != "linux"
        or subprocess.run([*PRIVATE, "true"], capture_output=True).returncode
    ):
        pytest.skip("a mount of its own is not permitted here")
    folder = tmp_path / "shm"
    folder.mkdir()
    return folder


@pytest.fixture
def start(tmp_path, shared_memory):
    """Starts a run in a session of its own; its leader is the command."""
    write_shapes(tmp_path / "data", train=8, val=2, size=48)
    started = []

    def start(*arguments):
        mount = f'mount --bind {shared_memory} /dev/shm && exec "$@"'
        where = ["--data-dir", str(tmp_path / "data"), "--workdir", str(tmp_path / "run")]
        command = [sys.executable, "-m", "experiments.train", *NARROW.split(), *where, *arguments]
        run = subprocess.Popen(
            [*PRIVATE, "sh", "-c", mount, "sh", *command],
            cwd=ROOT,
            env={**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        started.append(run)
        return run

    yield start
    for run in started:
        for process in session(run.pid):
            os.kill(process, signal.SIGKILL)


def session(leader: int) -> set[int]:
    """The live processes of a session."""
    found = set()
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            state, _, _, number = path.read_text().rpartition(")")[2].split()[:4]
        except (FileNotFoundError, ProcessLookupError):
            continue
        if int(number) == leader and state != "Z":
            found.add(int(path.parent.name))
    return found


def left_behind(run, shared_memory, seconds=10):
    """Processes and shared memory that are still there some seconds after the command's end."""
    end = time.monotonic() + seconds
    while True:
        left = session(run.pid), list(shared_memory.iterdir())
        if not any(left) or time.monotonic() > end:
            return left
        time.sleep(0.05)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("signals", "send", "status"),
    [
        ([signal.SIGINT], os.kill, 130),
        ([signal.SIGINT], os.killpg, 130),  # as a terminal does
        ([signal.SIGINT, signal.SIGINT], os.killpg, 130),
        ([signal.SIGTERM], os.kill, 143),
        ([signal.SIGTERM], os.killpg, 143),
        ([signal.SIGKILL], os.kill, -signal.SIGKILL),
    ],
)
def test_a_signal_leaves_nothing(start, shared_memory, tmp_path, signals, send, status):
    run = start("--epochs", "2000")
    while not (tmp_path / "run" / "log.csv").exists():
        assert run.poll() is None, run.communicate()
        time.sleep(0.05)
    assert len(session(run.pid)) >= 3  # itself, and two workers
    for number in signals:
        send(run.pid, number)
    _, error = run.communicate(timeout=60)
    assert run.returncode == status, error
    assert left_behind(run, shared_memory) == (set(), [])
    assert "Traceback" not in error
    if len(signals) == 1 and signals != [signal.SIGKILL]:
        assert "leaked" not in error and "is saved" in error


@pytest.mark.slow
@pytest.mark.parametrize(
    ("arguments", "status"),
    [(["--epochs", "1"], 0), (["--epochs", "9", "--learning-rate", "1e30"], 1)],
    ids=["finished", "diverged"],
)
def test_its_own_end_leaves_nothing(start, shared_memory, arguments, status):
    run = start(*arguments)
    _, error = run.communicate(timeout=300)
    assert run.returncode == status, error
    assert left_behind(run, shared_memory) == (set(), [])
    assert "leaked" not in error
