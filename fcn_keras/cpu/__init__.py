"""Algorithms for JAX on a CPU, where XLA's own are slow.

The layers choose them automatically, and results differ from the stock layers' by rounding only.
`turn_off` disables some of them, for comparison. `prepare` makes the settings that affect the whole
process; importing the package doesn't call it.
"""

from __future__ import annotations

import functools
import importlib.metadata
import re
from pathlib import Path
from types import ModuleType

import keras

from fcn_keras.cpu.switches import ALGORITHMS, may_keep_memory, turn_off, turned_on

__all__ = [
    "ALGORITHMS",
    "calls_onednn",
    "in_use",
    "multiplies_bfloat16",
    "prepare",
    "slow_precision",
    "turn_off",
    "turned_on",
]


def in_use(algorithm: str) -> bool:
    """Whether `algorithm` is turned on and Keras runs where it helps: with JAX on a CPU."""
    return turned_on(algorithm) and keras.backend.backend() == "jax" and _runtime().on_cpu()


def prepare() -> None:
    """Makes the process keep freed memory, if Keras runs with JAX on a CPU.

    Without it a step takes up to a third longer. Training, `fcn_keras.Segmenter` and the commands
    call this when they start. If you run a model yourself, call it before JAX creates its first
    array. It changes two things: the C library's ``M_MMAP_MAX`` and ``M_TRIM_THRESHOLD``, and JAX's
    ``jax_cpu_enable_async_dispatch`` (unless its environment variable is set), so that programs run
    in the thread that calls them. With ``FCN_KERAS_LEAVE_PROCESS=1`` in the environment it does
    nothing.
    """
    if may_keep_memory() and keras.backend.backend() == "jax":
        _runtime().keep_memory()


_CPU_INFO = Path("/proc/cpuinfo")


@functools.cache
def multiplies_bfloat16(cpuinfo: Path = _CPU_INFO) -> bool:
    """Whether bfloat16 is faster here: the CPU has AMX or AVX-512 BF16, and jaxlib makes use of it.

    That is known of jaxlib 0.10.1 to 0.12 (`fcn_keras.cpu.onednn`), and of CPUs on Linux; False
    elsewhere.
    """
    known = (0, 10, 1) <= _jaxlib() < (0, 13)
    return known and not _features(cpuinfo).isdisjoint({"amx_bf16", "avx512_bf16"})


@functools.cache
def has_amx(cpuinfo: Path = _CPU_INFO) -> bool:
    """Whether the CPU has AMX: direct sums in bfloat16 are then faster than by Winograd."""
    return "amx_bf16" in _features(cpuinfo)


def _features(cpuinfo: Path) -> set[str]:
    try:
        return set(cpuinfo.read_text().split())
    except OSError:
        return set()


def calls_onednn(model: keras.Model) -> bool:
    """Whether oneDNN computes some of the model's layers: those in bfloat16, where it can."""
    half = any(layer.compute_dtype == "bfloat16" for layer in model.layers)
    return half and in_use("convolutions") and multiplies_bfloat16()


def slow_precision(precision: str | None) -> str | None:
    """A warning if JAX runs on a CPU that is slower in `precision`; None otherwise."""
    if precision != "bfloat16" or multiplies_bfloat16():
        return None
    if keras.backend.backend() != "jax" or not _runtime().on_cpu():
        return None
    return (
        'Warning: precision "bfloat16" is slower than "float32" here: the CPU has no instructions '
        "for it, or jaxlib isn't one of 0.10.1 to 0.12."
    )


def _jaxlib() -> tuple[int, ...]:
    numbers = re.findall(r"\d+", importlib.metadata.version("jaxlib"))
    return tuple(int(number) for number in numbers[:3])


def _runtime() -> ModuleType:
    from fcn_keras.cpu import runtime  # needs JAX, which other backends don't

    return runtime
