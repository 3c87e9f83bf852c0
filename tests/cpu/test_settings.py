"""What is turned on, what the processor can do, and what changes in the process."""

import importlib.metadata
import subprocess
import sys

import keras
import numpy as np
import pytest

from fcn_keras import cpu
from fcn_keras.cpu import switches
from fcn_keras.errors import InputError
from fcn_keras.models.convolution import Convolution
from fcn_keras.models.pooling import MaxPool

INTEL = "flags\t\t: fpu sse2 avx512f avx512_bf16 amx_bf16 amx_tile\n"


@pytest.fixture
def restored(monkeypatch):
    monkeypatch.setattr(switches, "_off", set())


def test_an_algorithm_that_is_turned_off_is_not_used(restored):
    x = np.zeros((1, 8, 8, 64), "float32")
    convolution, pool = Convolution(128, 1), MaxPool(2, padding="same")
    assert convolution._fast(x) is not None
    cpu.turn_off("convolutions")
    assert convolution._fast(x) is None
    assert cpu.in_use("pools")
    cpu.turn_off("pools", "compiler")
    assert not cpu.in_use("pools")
    np.testing.assert_array_equal(pool(x), 0)


def test_an_unknown_algorithm_is_named(restored):
    with pytest.raises(InputError, match="'pool' is not one of convolutions, pools"):
        cpu.turn_off("pool")


@pytest.mark.parametrize(
    ("text", "has"),
    [(INTEL, True), ("flags : avx512_bf16\n", True), ("flags : avx2 avx512f\n", False)],
)
def test_the_processor_says_what_it_multiplies(tmp_path, monkeypatch, text, has):
    path = tmp_path / "cpuinfo"
    path.write_text(text)
    for jaxlib, enough in (
        ("0.10.1", True),
        ("0.12.0rc1", True),
        ("0.10.0", False),
        ("0.9", False),
    ):
        monkeypatch.setattr(importlib.metadata, "version", lambda _, jaxlib=jaxlib: jaxlib)
        cpu.multiplies_bfloat16.cache_clear()
        assert cpu.multiplies_bfloat16(path) is (has and enough)
        assert cpu.multiplies_bfloat16(tmp_path / "none") is False
    cpu.multiplies_bfloat16.cache_clear()


SCRIPT = """
import jax
import fcn_keras
from fcn_keras import cpu
from fcn_keras.cpu import allocator
kept = []
allocator.keep = lambda: kept.append(True)
before = jax.config.values["jax_cpu_enable_async_dispatch"]
{call}
print(before, jax.config.values["jax_cpu_enable_async_dispatch"], len(kept))
"""


@pytest.mark.skipif(keras.backend.backend() != "jax", reason="asks JAX")
@pytest.mark.parametrize(
    ("call", "setting", "expected"),
    [
        ("", "", "True True 0"),
        ("cpu.in_use('pools')", "", "True True 0"),
        ("cpu.prepare()", "", "True False 1"),
        ("cpu.prepare()", "1", "True True 0"),
    ],
)
def test_only_prepare_changes_the_process(call, setting, expected, monkeypatch):
    monkeypatch.setenv("FCN_KERAS_LEAVE_PROCESS", setting)
    monkeypatch.setenv("JAX_PLATFORMS", "cpu")
    monkeypatch.delenv("JAX_CPU_ENABLE_ASYNC_DISPATCH", raising=False)
    script = SCRIPT.format(call=call)
    done = subprocess.run([sys.executable, "-c", script], check=True, stdout=subprocess.PIPE)
    assert done.stdout.decode().strip() == expected


def test_bfloat16_is_warned_of_where_the_cpu_lacks_it(monkeypatch):
    monkeypatch.setattr(cpu, "multiplies_bfloat16", lambda: False)
    assert "slower than" in cpu.slow_precision("bfloat16")
    assert cpu.slow_precision("float32") is cpu.slow_precision(None) is None
    monkeypatch.setattr(cpu, "multiplies_bfloat16", lambda: True)
    assert cpu.slow_precision("bfloat16") is None


THREADS = """
import threading
import fcn_keras
import jax
import numpy as np
from fcn_keras import cpu
from fcn_keras.cpu import runtime

cpu.prepare()
seen = []

def note(x):
    seen.append(threading.get_ident() == threading.main_thread().ident)
    return x

def program(x):
    return jax.pure_callback(note, jax.ShapeDtypeStruct((), np.float32), x[0])

run = runtime.tuned_jit(program)
for size in range(30):
    run(np.zeros(2**24 + size // 15, np.float32)).block_until_ready()
print(len(seen), sum(seen))
"""


@pytest.mark.skipif(keras.backend.backend() != "jax", reason="asks JAX")
def test_programs_run_in_the_thread_that_calls_them(monkeypatch):
    """By `jax.jit` most run in another, since the argument, 67 MB, is still being copied."""
    monkeypatch.setenv("JAX_PLATFORMS", "cpu")
    done = subprocess.run([sys.executable, "-c", THREADS], check=True, stdout=subprocess.PIPE)
    assert done.stdout.split() == [b"30", b"30"]
