"""Freed memory that is kept: the system need not clear it again for every call."""

import platform
import subprocess
import sys

import pytest

# Megabytes of pages that ten calls touch anew; each writes 64 MB.
CALLS = """
import resource
import numpy as np
from fcn_keras import memory
if {keep}:
    memory.keep()
np.ones(2**24, "float32")
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(10):
    np.ones(2**24, "float32")
after = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
print((after - before) * resource.getpagesize() / 1e6)
"""

pytestmark = pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="needs glibc")


def touched(keep: bool) -> float:
    script = CALLS.format(keep=keep)
    done = subprocess.run([sys.executable, "-c", script], check=True, stdout=subprocess.PIPE)
    return float(done.stdout)


def test_kept_memory_is_used_again():
    assert touched(keep=True) < 64


@pytest.mark.parametrize("kept", [True, False])
def test_programs_use_kept_memory(kept):
    """Ours, as imported: calls of a compiled program that needs 128 MB, by the calling thread."""
    script = f"""
import resource
import fcn_keras
import jax.numpy as jnp
from fcn_keras import jit, memory
if not {kept}:
    memory._glibc = None
double = jit.jit(lambda x: 2 * x)
x = double(jnp.ones(2**24))
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(10):
    double(x).block_until_ready()
after = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
print((after - before) * resource.getpagesize() / 1e6)
"""
    done = subprocess.run([sys.executable, "-c", script], check=True, stdout=subprocess.PIPE)
    assert (float(done.stdout) < 200) is kept
