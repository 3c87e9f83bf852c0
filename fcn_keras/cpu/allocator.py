"""malloc tuning for glibc; a no-op with other C libraries."""

from __future__ import annotations

import contextlib
import ctypes
import math
import mmap
import sys
import threading
from collections.abc import Iterator

import numpy as np

_M_TRIM_THRESHOLD, _M_MMAP_MAX = -1, -4  # malloc.h
# About what a network needs besides its weights for a photo of 512x512, in bytes.
FOR_A_PHOTO = 2**28

_glibc = ctypes.CDLL(None) if sys.platform == "linux" else None
if not hasattr(_glibc, "malloc_trim"):
    _glibc = None
if _glibc is not None:
    _glibc.malloc.argtypes, _glibc.malloc.restype = [ctypes.c_size_t], ctypes.c_void_p
    _glibc.memset.argtypes = [ctypes.c_void_p, ctypes.c_int, ctypes.c_size_t]
    _glibc.free.argtypes = [ctypes.c_void_p]
    _glibc.sbrk.argtypes, _glibc.sbrk.restype = [ctypes.c_ssize_t], ctypes.c_void_p


def keep() -> None:
    """Keeps freed memory in this process from now on.

    XLA:CPU allocates its buffers anew for every call. By default glibc maps each large one and
    unmaps it when freed, and the kernel zeroes every page again on its first write, which can take
    ten times as long as the computation that writes it.
    """
    if _glibc is not None:
        _glibc.mallopt(_M_MMAP_MAX, 0)
        _glibc.mallopt(_M_TRIM_THRESHOLD, 2**31 - 1)


@contextlib.contextmanager
def getting(size: int) -> Iterator[None]:
    """Gets `size` bytes from the system, in another thread, while what is inside runs.

    They are free after it, and kept as by `keep`. For half a gigabyte the system takes 0.1 s, on a
    virtual machine up to a second.
    """
    if _glibc is None:
        yield
        return
    keep()
    memory = _glibc.malloc(size)  # None if there isn't as much
    touch = threading.Thread(target=_glibc.memset, args=(memory, 0, size if memory else 0))
    touch.start()
    try:
        yield
    finally:
        touch.join()
        _glibc.free(memory)


def trim(spare: int = 0) -> None:
    """Returns the memory freed so far to the system, but for one piece of `spare` bytes.

    Compiling the full-width training step leaves 300 MB behind, which would add to the step's own
    buffers from then on.
    """
    if _glibc is not None:
        end = _glibc.sbrk(0)
        memory = _glibc.malloc(spare)
        if _glibc.sbrk(0) != end:  # no piece was as large, and the heap has grown
            _glibc.free(memory)
            memory = None
        _glibc.malloc_trim(0)
        _glibc.free(memory)


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
