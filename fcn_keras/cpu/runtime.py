"""How JAX compiles and runs the networks on a CPU."""

from __future__ import annotations

import contextlib
import functools
import os
from collections.abc import Callable
from typing import Any, TypeVar

import jax
import numpy as np

from fcn_keras.cpu import allocator, onednn, switches

T = TypeVar("T")

_CPU_OPTIONS = {
    # jaxlib 0.10 computes convolutions through YNNPACK on the CPU, up to three times slower than
    # XLA's former path for those of VGG16. Its matrix products are up to three times faster, so
    # they are all that it may do.
    "xla_cpu_experimental_ynn_fusion_type": (
        "LIBRARY_FUSION_TYPE_DOT,LIBRARY_FUSION_TYPE_INDIVIDUAL_DOT"
    ),
    # The default computes early whatever it can, such as the transforms of all kernels: at 480x480
    # FCN-8s then needs 530 MB besides weights and outputs instead of 210.
    "xla_cpu_scheduler_type": "CPU_SCHEDULER_TYPE_MEMORY_OPTIMIZED",
}


class tuned_jit:
    """`jax.jit(function, **options)` with what is fast for the networks on a CPU.

    With `half` the program may call oneDNN, which keeps it out of JAX's compilation cache.
    """

    def __init__(self, function: Callable, half: bool = False, **options: Any):
        self._function, self._options = function, options
        self._jitted = self._jit()
        self._scope = onednn.uncached if half else contextlib.nullcontext

    def _jit(self) -> Any:
        # JAX remembers what it lowered a function to, so each has a function of its own.
        own = functools.wraps(self._function)(lambda *arguments: self._function(*arguments))
        return jax.jit(own, compiler_options=_compiler_options(), **self._options)

    def __call__(self, *arguments: Any) -> Any:
        """Compiles the function for arguments like these, if need be, and runs it."""
        with self._scope():
            return self._jitted(*arrived(arguments))

    def compile(self, *arguments: Any) -> jax.stages.Compiled:
        """The program for `arguments`, or for shapes and dtypes like theirs."""
        with self._scope():
            return self._jitted.lower(*arguments).compile()

    def lower(self, *arguments: Any) -> jax.stages.Lowered:
        """As that of `jax.jit`. It calls oneDNN only where JAX's compilation cache is off."""
        return self._jit().lower(*arguments)


def arrived(arguments: T) -> T:
    """On a CPU, `arguments` with NumPy arrays as JAX' own, once all of them have been copied.

    While one is being copied, JAX runs the program in another thread, and so every program that
    needs the results: a training run, once it happened, to its end. Memory that other threads free
    isn't kept (`fcn_keras.cpu.prepare`), and a step takes 6 % longer.
    """
    if not on_cpu():
        return arguments
    put = jax.tree.map(lambda x: jax.device_put(x) if isinstance(x, np.ndarray) else x, arguments)
    return jax.block_until_ready(put)


@functools.cache
def on_cpu() -> bool:
    """Whether JAX runs on a CPU."""
    return jax.default_backend() == "cpu"


def keep_memory() -> None:
    """Makes the settings of `fcn_keras.cpu.prepare`, which decides whether they are wanted."""
    # A program that runs in its caller's thread allocates from the main heap, which
    # `allocator.keep` applies to; JAX's own threads have heaps of at most 64 MB each. JAX reads
    # this when it starts.
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
    """Tells whether this jaxlib has the options; an unknown one in XLA_FLAGS would abort."""
    try:
        jax.jit(lambda x: x, compiler_options=options)(0.0)
    except jax.errors.JaxRuntimeError:
        return False
    return True
