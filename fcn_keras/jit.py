"""`jax.jit` with the compiler options that convolutions need on a CPU."""

from __future__ import annotations

import ctypes
import functools
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


def jit(function: Callable, **options) -> Callable:
    """`jax.jit(function, **options)`, compiled for the fast convolution path on a CPU."""
    return jax.jit(function, compiler_options=_compiler_options(), **options)


@functools.cache
def _compiler_options() -> dict[str, str]:
    if jax.default_backend() != "cpu":
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
    if sys.platform == "linux":
        release = getattr(ctypes.CDLL(None), "malloc_trim", None)
        if release is not None:
            release(0)
