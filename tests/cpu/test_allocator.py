"""Freed memory that is kept: the system need not clear it again for every call."""

import os
import platform
import subprocess
import sys
from pathlib import Path

import pytest

HUGE_PAGES = Path("/sys/kernel/mm/transparent_hugepage/enabled")

pytestmark = [
    pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="needs glibc"),
    pytest.mark.skipif(
        HUGE_PAGES.exists() and "[always]" in HUGE_PAGES.read_text(),
        reason="huge pages are too few to count",
    ),
]

# Pages that ten calls of a compiled program touch for the first time, in MB.
SCRIPT = """
import resource
import fcn_keras
import jax.numpy as jnp
from fcn_keras import cpu
from fcn_keras.cpu import runtime
{keep}
double = runtime.tuned_jit(lambda x: 2 * x)
x = double(jnp.ones(2**24))

def pages():
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt

for _ in range(5):
    double(x).block_until_ready()
before = pages()
for _ in range(10):
    double(x).block_until_ready()
print((pages() - before) * resource.getpagesize() / 1e6)
"""


@pytest.mark.parametrize("kept", [True, pytest.param(False, marks=pytest.mark.slow)])
def test_calls_use_the_same_memory_again(kept):
    """Each call writes 67 MB. Now and then the C library doesn't find the old place again."""
    script = SCRIPT.format(keep="cpu.prepare()" if kept else "")
    done = subprocess.run([sys.executable, "-c", script], check=True, stdout=subprocess.PIPE)
    megabytes = float(done.stdout)
    assert megabytes < 300 if kept else megabytes > 600


# Pages touched for the first time while 67 MB are written, and resident memory, in MB.
GETTING = """
import contextlib, resource
from pathlib import Path
import numpy as np
from fcn_keras.cpu import allocator

def pages():
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt * resource.getpagesize() / 1e6

def resident():
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize() / 1e6

with {context}:
    pass
before = pages()
values = np.zeros(2**26, np.uint8)
values[:] = 1
print(pages() - before, end=" ")
start = resident()
del values
allocator.trim({spare})
print(resident() - start)
"""


def measured(context: str, spare: str = "0") -> list[float]:
    script = GETTING.format(context=context, spare=spare)
    # NumPy asks for huge pages, which are too few to count.
    environment = {**os.environ, "NUMPY_MADVISE_HUGEPAGE": "0"}
    done = subprocess.run(
        [sys.executable, "-c", script], check=True, stdout=subprocess.PIPE, env=environment
    )
    return [float(number) for number in done.stdout.split()]


def test_memory_that_was_got_ahead_is_used():
    assert measured("contextlib.nullcontext()")[0] > 60
    assert measured("allocator.getting(2**26 + 2**16)")[0] < 10


def test_trim_keeps_what_is_spared():
    assert measured("allocator.getting(2**26 + 2**16)")[1] < -60
    assert -40 < measured("allocator.getting(2**26 + 2**16)", "2**25")[1] < -25


ADDRESSES = """
from pathlib import Path
from fcn_keras.cpu import allocator

def addresses():
    return int(Path("/proc/self/statm").read_text().split()[0])

allocator.keep()
allocator.trim()
before = addresses()
allocator.trim(2**28)
print(addresses() - before)
"""


def test_trim_gets_nothing_that_was_not_free():
    done = subprocess.run([sys.executable, "-c", ADDRESSES], check=True, stdout=subprocess.PIPE)
    assert int(done.stdout) <= 0
