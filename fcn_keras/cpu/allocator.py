"""malloc tuning for glibc; a no-op with other C libraries."""

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
    """Keeps freed memory in this process from now on.

    XLA:CPU allocates its buffers anew for every call. By default glibc maps each large one and
    unmaps it when freed, and the kernel zeroes every page again on its first write, which can take
    ten times as long as the computation that writes it.
    """
    if _glibc is not None:
        _glibc.mallopt(_M_MMAP_MAX, 0)
        _glibc.mallopt(_M_TRIM_THRESHOLD, 2**31 - 1)


def trim() -> None:
    """Returns the memory freed so far to the system.

    Compiling the full-width training step leaves 300 MB behind, which would add to the step's own
    buffers from then on.
    """
    if _glibc is not None:
        _glibc.malloc_trim(0)


def zeros(shape: tuple[int, ...], dtype: np.typing.DTypeLike) -> np.ndarray:
    """`numpy.zeros` in memory mapped for it alone, and unmapped when freed even after `keep`.

    For large arrays of ever different sizes, which would fragment the memory that is kept.

    Raises:
        MemoryError: the system doesn't have that much.
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
