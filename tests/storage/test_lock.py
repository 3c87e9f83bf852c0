import os
import re
import signal
import subprocess
import sys
import threading

import pytest

from fcn_keras import InputError
from fcn_keras.storage import locked

# Without the rest of the package, which takes seconds to import.
HOLD = """
import sys, types
package = types.ModuleType("fcn_keras")
package.__path__ = [sys.argv[2]]
sys.modules["fcn_keras"] = package
from pathlib import Path
from fcn_keras.storage import locked
with locked(Path(sys.argv[1]), "out"):
    print("held", flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def hold(tmp_path, request):
    """Starts a process that holds `tmp_path / "out"` until its input ends."""
    package = request.config.rootpath / "fcn_keras"
    started = []

    def hold():
        process = subprocess.Popen(
            [sys.executable, "-c", HOLD, str(tmp_path / "out"), str(package)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        started.append(process)
        assert process.stdout.readline() == "held\n"
        return process

    yield hold
    for process in started:
        process.kill()
        process.communicate()


def test_a_held_folder_is_refused_by_the_holders_name(hold, tmp_path):
    folder = tmp_path / "out"
    process = hold()
    words = rf"--out {folder} is in use by process {process.pid} on \S+, since .* \(-c {folder} "
    with pytest.raises(InputError, match=words), locked(folder, "--out"):
        pytest.fail("held twice")
    process.communicate()  # ends its input
    with locked(folder, "--out"):
        assert os.listdir(folder) == [".lock"]
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_a_lock_dies_with_its_process(hold, tmp_path, number):
    process = hold()
    process.send_signal(number)
    process.wait()
    assert os.listdir(tmp_path / "out") == [".lock"]
    with locked(tmp_path / "out", "out"):
        text = (tmp_path / "out" / ".lock").read_text()
        assert text.startswith(f"process {os.getpid()} on ") and re.search(r"\)$", text)


def test_a_folder_made_for_nothing_goes_again(tmp_path):
    with pytest.raises(ZeroDivisionError), locked(tmp_path / "out", "out"):
        1 / 0  # noqa: B018
    assert os.listdir(tmp_path) == []
    with locked(tmp_path / "out", "out"):
        (tmp_path / "out" / "a").touch()
    assert os.listdir(tmp_path / "out") == ["a"]


def test_of_many_threads_one_at_a_time_gets_it(tmp_path):
    """Also between a holder's removing the file and another's opening it."""
    inside, most = [], []

    def work():
        for _ in range(200):
            try:
                with locked(tmp_path, "out"):
                    inside.append(1)
                    most.append(len(inside))
                    inside.pop()
            except InputError:
                pass

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert max(most) == 1 and len(most) > 1


@pytest.mark.parametrize("below", ["file", "file/out"])
def test_a_folder_that_cannot_be_made(tmp_path, below):
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match=r"--out .* can't be written \(.*\): make it writable"):
        locked(tmp_path / below, "--out").__enter__()
