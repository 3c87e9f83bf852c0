"""Freed memory that is kept: the system need not clear it again for every call."""

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
