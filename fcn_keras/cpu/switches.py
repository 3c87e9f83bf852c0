"""Turning the algorithms for CPUs off, to compare."""

from __future__ import annotations

from fcn_keras.errors import InputError

# Faster convolutions; pools; transposed convolutions (these on other devices, too); options of
# XLA's compiler; freed memory that stays with the process.
ALGORITHMS = ("convolutions", "pools", "upsampling", "compiler", "memory")
_off: set[str] = set()


def turn_off(*algorithms: str) -> None:
    """Leaves `algorithms` out of what is called or compiled from now on.

    Raises:
        InputError: one is not among `ALGORITHMS`.
    """
    for name in algorithms:
        if name not in ALGORITHMS:
            raise InputError(f"algorithm {name!r} is not one of {', '.join(ALGORITHMS)}")
    _off.update(algorithms)


def turned_on(algorithm: str) -> bool:
    """Whether `turn_off` hasn't named it."""
    return algorithm not in _off
