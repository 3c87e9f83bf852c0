"""What every fuzz test holds a damaged file to."""

import encodings.cp437  # noqa: F401  zipfile imports it for old names, which is no call of ours
import sys
import time
import tracemalloc

import numpy as np
import pytest

from fcn_keras import InputError
from fcn_keras.weights import read_torch

FORBIDDEN = ("os.", "subprocess.", "exec", "compile", "pickle.", "ctypes.", "socket.", "shutil.")
# An audit hook stays for good, so it looks only while a file is read.
watching = False
seen = []


def watch(event, arguments):
    if watching and event.startswith(FORBIDDEN):
        seen.append((event, str(arguments)[:100]))


sys.addaudithook(watch)


def read_watched(path, touch=True):
    """Reads the file; returns its arrays, or None if it was refused.

    Asserts that a refusal is one line that names the file; that nothing ran programs or code; that
    it took less than a second and memory in proportion to the file. `touch` reads every number.
    """
    global watching
    size = path.stat().st_size
    arrays = None
    tracemalloc.start()
    start = time.process_time()
    watching = True
    try:
        arrays = read_torch(path)
        assert all(isinstance(name, str) for name in arrays)
        assert all(array.size <= size for array in arrays.values())
        if touch:
            assert all(array.sum().shape == () for array in arrays.values())
    except InputError as error:
        assert str(error).startswith(str(path))
        assert "\n" not in str(error)
    finally:
        watching = False
        seconds = time.process_time() - start
        peak_bytes = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    assert not seen
    assert seconds < 1
    assert peak_bytes < 1_000_000 + 100 * size
    return arrays


@pytest.fixture(scope="module")
def attempt():
    with np.errstate(all="ignore"):  # sums of damaged numbers
        yield read_watched
