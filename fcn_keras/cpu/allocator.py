"""How the C library treats large blocks of freed memory; does nothing beside glibc."""

from __future__ import annotations

import ctypes
import math
import mmap
import sys

import numpy as np

_M_TRIM_THRESHOLD, _M_MMAP_MAX = -1, -4  # malloc.h
_glibc = ctypes.CDLL(None) if sys.platform == "linux" else None
if not hasattr(_glibc, "malloc_trim"):
    _glibc = None


def keep() -> None:
    """From now on memory that is freed stays with this process.

    XLA:CPU allocates its buffers anew for every call. By itself the C library gets each from the
    system and gives it back, and the system clears every page again when it is first written, which
    can take ten times as long as the computation that writes it.
    """
    if _glibc is not None:
        _glibc.mallopt(_M_MMAP_MAX, 0)
        _glibc.mallopt(_M_TRIM_THRESHOLD, 2**31 - 1)


def trim() -> None:
    """Gives memory that has been freed so far back to the system.

    Compiling the full-width training step leaves 300 MB, which would stand beside the step's own
    buffers from then on.
    """
    if _glibc is not None:
        _glibc.malloc_trim(0)


def zeros(shape: tuple[int, ...], dtype: np.typing.DTypeLike) -> np.ndarray:
    """As `numpy.zeros`, but its memory comes from the system and goes back to it, even if `keep`.

    For large arrays of ever new sizes, between which the memory that is kept would be split up.
    """
    dtype = np.dtype(dtype)
    size = math.prod(shape)
    if not size:
        return np.zeros(shape, dtype)
    try:
        memory = mmap.mmap(-1, size * dtype.itemsize)
    except OSError as error:
        raise MemoryError(f"can't get {size * dtype.itemsize >> 20} MB") from error
    return np.frombuffer(memory, dtype).reshape(shape)
