"""`jax.jit` with what the networks need on a CPU: compiler options, and memory that is kept.

Import this before JAX makes its first array, as ``import fcn_keras`` does.
"""

from __future__ import annotations

import ctypes
import functools
import os
import sys
from collections.abc import Callable

import jax

# jaxlib 0.10 computes convolutions through YNNPACK on the CPU, which is up to three times slower
# for the ones in VGG16 than XLA's former path. Its matrix products are up to three times faster.
# This list names what it may do.
_CPU_OPTIONS = {
    "xla_cpu_experimental_ynn_fusion_type": (
        "LIBRARY_FUSION_TYPE_DOT,LIBRARY_FUSION_TYPE_INDIVIDUAL_DOT"
    )
}


# A program run by the thread that called it takes its memory from the heap that `_keep_memory`
# keeps; the threads that JAX would use have heaps of their own, of 64 MB at most. JAX reads this
# when it starts.
if "JAX_CPU_ENABLE_ASYNC_DISPATCH" not in os.environ:
    jax.config.update("jax_cpu_enable_async_dispatch", False)


def jit(function: Callable, **options) -> Callable:
    """`jax.jit(function, **options)`, compiled for the fast convolution path on a CPU."""
    return jax.jit(function, compiler_options=_compiler_options(), **options)


@functools.cache
def on_cpu() -> bool:
    """Whether JAX computes on a CPU. If so, freed memory stays with this process from now on."""
    if jax.default_backend() != "cpu":
        return False
    _keep_memory()
    return True


@functools.cache
def _compiler_options() -> dict[str, str]:
    if not on_cpu():
        return {}
    try:
        # An option that this jaxlib doesn't know raises here. (In XLA_FLAGS it would abort.)
        jax.jit(lambda x: x, compiler_options=_CPU_OPTIONS)(0.0)
    except jax.errors.JaxRuntimeError:
        return {}
    return _CPU_OPTIONS


def trim() -> None:
    """Gives memory that the compiler has freed back to the system; does nothing beside glibc.

    Compiling the full-width step leaves 300 MB with the C library, which would stand beside the
    step's own buffers from then on.
    """
    if _glibc is not None:
        _glibc.malloc_trim(0)


def _keep_memory() -> None:
    """Has the C library keep large blocks that are freed; does nothing beside glibc.

    XLA:CPU allocates its buffers anew for every call. The C library would get each from the system
    and give it back, and the system clears every page again when it is first written: up to ten
    times as long as the computation that writes it.
    """
    if _glibc is not None:
        _glibc.mallopt(_M_MMAP_MAX, 0)
        _glibc.mallopt(_M_TRIM_THRESHOLD, 2**31 - 1)


_M_TRIM_THRESHOLD, _M_MMAP_MAX = -1, -4  # malloc.h
_glibc = ctypes.CDLL(None) if sys.platform == "linux" else None
if not hasattr(_glibc, "malloc_trim"):
    _glibc = None
