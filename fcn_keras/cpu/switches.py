"""Switches for the CPU algorithms, for comparison."""

from __future__ import annotations

import os

from fcn_keras.errors import InputError

ALGORITHMS = ("convolutions", "pools", "upsampling", "compiler", "memory")
"""Faster convolutions, pools and transposed convolutions (the latter on other devices too), options
of XLA's compiler, and keeping freed memory."""
LEAVE_PROCESS = "FCN_KERAS_LEAVE_PROCESS"

_off: set[str] = set()


def turn_off(*algorithms: str) -> None:
    """Disables `algorithms` in everything that is called or compiled from now on.

    Raises:
        InputError: one is not among `ALGORITHMS`.
    """
    for name in algorithms:
        if name not in ALGORITHMS:
            raise InputError(f"algorithm {name!r} is not one of {', '.join(ALGORITHMS)}")
    _off.update(algorithms)


def turned_on(algorithm: str) -> bool:
    """Whether `algorithm` is enabled: `turn_off` hasn't named it."""
    return algorithm not in _off


def may_keep_memory() -> bool:
    """Whether nobody objects to what `fcn_keras.cpu.prepare` changes in the process."""
    return turned_on("memory") and os.environ.get(LEAVE_PROCESS, "0") in ("", "0")
