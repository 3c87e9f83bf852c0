"""How JAX compiles and runs the networks on a CPU."""

from __future__ import annotations

import functools
import os
from collections.abc import Callable

import jax

from fcn_keras.cpu import allocator, switches

_CPU_OPTIONS = {
    # jaxlib 0.10 computes convolutions through YNNPACK on the CPU, up to three times slower than by
    # XLA's former path for those in VGG16. Its matrix products are up to three times faster. This
    # list names what it may do.
    "xla_cpu_experimental_ynn_fusion_type": (
        "LIBRARY_FUSION_TYPE_DOT,LIBRARY_FUSION_TYPE_INDIVIDUAL_DOT"
    ),
    # Otherwise what can be computed early is, such as the transforms of all kernels: FCN-8s needs
    # 530 MB beside weights and outputs at 480x480 then, not 210.
    "xla_cpu_scheduler_type": "CPU_SCHEDULER_TYPE_MEMORY_OPTIMIZED",
}


def tuned_jit(function: Callable, **options) -> Callable:
    """`jax.jit(function, **options)`, with the compiler's options for the networks on a CPU."""
    return jax.jit(function, compiler_options=_compiler_options(), **options)


@functools.cache
def on_cpu() -> bool:
    """Whether JAX computes on a CPU."""
    return jax.default_backend() == "cpu"


def keep_memory() -> None:
    """See `fcn_keras.cpu.prepare`, which asks whether it may."""
    # A program run by the thread that called it takes its memory from the heap that
    # `allocator.keep` keeps; the threads that JAX would use have heaps of their own, of 64 MB at
    # most. JAX reads this when it starts.
    if "JAX_CPU_ENABLE_ASYNC_DISPATCH" not in os.environ:
        jax.config.update("jax_cpu_enable_async_dispatch", False)
    if on_cpu():
        allocator.keep()


def _compiler_options() -> dict[str, str]:
    return _known_options() if switches.turned_on("compiler") and on_cpu() else {}


@functools.cache
def _known_options() -> dict[str, str]:
    return {name: value for name, value in _CPU_OPTIONS.items() if _known({name: value})}


def _known(options: dict[str, str]) -> bool:
    """Whether this jaxlib has the option. (In XLA_FLAGS an unknown one aborts the process.)"""
    try:
        jax.jit(lambda x: x, compiler_options=options)(0.0)
    except jax.errors.JaxRuntimeError:
        return False
    return True
