"""How the C library treats large blocks of freed memory; does nothing beside glibc."""

from __future__ import annotations

import ctypes
import sys

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
