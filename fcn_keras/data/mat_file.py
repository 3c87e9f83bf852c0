"""The segmentation in an SBD class file: the few parts of MATLAB's format that it needs.

Source of the layout: MathWorks, "MAT-File Format", level 5. Nothing else in a file is read,
and sizes are compared with the file's before anything is allocated.
"""

from __future__ import annotations

import struct
import zlib

import numpy as np

HEADER_BYTES = 128
MAX_BYTES = 1 << 28  # of an unpacked variable; SBD's have 200 kB
INT8, UINT8, INT32, UINT32, MATRIX, COMPRESSED = 1, 2, 5, 6, 14, 15  # kinds of data element
STRUCT_CLASS, UINT8_CLASS = 2, 9


def read_segmentation(content: bytes) -> np.ndarray:
    """``GTcls.Segmentation`` of a MATLAB 5 file, uint8 ``(H, W)``.

    Raises:
        ValueError: the file is damaged, of another version, or has no such matrix of uint8.
    """
    if content[124:128] != b"\x00\x01IM":
        raise ValueError("not a little-endian MATLAB 5 file")
    reader = _Reader(content[HEADER_BYTES:])
    while reader:
        kind, data = reader.element()
        if kind == COMPRESSED:
            kind, data = _Reader(_inflated(data)).element()
        if kind == MATRIX:
            matrix = _Matrix(data)
            if matrix.name == b"GTcls":
                return matrix.field(b"Segmentation").pixels()
    raise ValueError("no variable GTcls")


def _inflated(data: bytes) -> bytes:
    try:
        machine = zlib.decompressobj()
        unpacked = machine.decompress(data, MAX_BYTES)
    except zlib.error as error:
        raise ValueError(str(error)) from error
    if not machine.eof:
        raise ValueError("a variable is cut off, or has more than 256 MB")
    return unpacked


class _Reader:
    """Takes data elements from the front of some bytes."""

    def __init__(self, content: bytes):
        self.rest = memoryview(content)

    def __bool__(self) -> bool:
        return bool(self.rest)

    def element(self, expected: int | None = None) -> tuple[int, bytes]:
        """The next element's kind and data; `expected` is the kind that it must have."""
        kind, size = _unpacked("<II", bytes(self.rest[:8]))
        start, padded = 8, size + -size % 8
        if kind >> 16:  # a small element: its size and at most four bytes are in the tag
            kind, size = kind & 0xFFFF, kind >> 16
            start, padded = 4, 4
        if kind == COMPRESSED:
            padded = size
        if size > padded or start + size > len(self.rest):
            raise ValueError("an element is cut off")
        if expected not in (None, kind):
            raise ValueError(f"an element of kind {kind} in place of {expected}")
        data = bytes(self.rest[start : start + size])
        self.rest = self.rest[start + padded :]
        return kind, data

    def numbers(self, expected: int, form: str) -> tuple[int, ...]:
        """The next element's data in the form of the `struct` module."""
        return _unpacked(form, self.element(expected)[1])


def _unpacked(form: str, data: bytes) -> tuple[int, ...]:
    try:
        return struct.unpack(form, data)
    except struct.error as error:
        raise ValueError(str(error)) from error


class _Matrix:
    """An array's class, shape and name, and a reader of what follows them."""

    def __init__(self, data: bytes):
        self.reader = _Reader(data)
        flags, _ = self.reader.numbers(UINT32, "<II")
        self.kind = flags & 0xFF
        self.shape = self.reader.numbers(INT32, "<2i")  # more dimensions are refused
        self.name = self.reader.element(INT8)[1]

    def field(self, wanted: bytes) -> _Matrix:
        """A field of a single structure."""
        if self.kind != STRUCT_CLASS or self.shape != (1, 1):
            raise ValueError("GTcls is not a structure")
        (length,) = self.reader.numbers(INT32, "<i")
        names = self.reader.element(INT8)[1]
        if length < 1:
            raise ValueError("names without length")
        for start in range(0, len(names), length):
            _, data = self.reader.element(MATRIX)
            if names[start : start + length].split(b"\0")[0] == wanted:
                return _Matrix(data)
        raise ValueError("no field Segmentation")

    def pixels(self) -> np.ndarray:
        """The numbers of a uint8 matrix; MATLAB stores them by columns."""
        if self.kind != UINT8_CLASS:
            raise ValueError("Segmentation is not a matrix of uint8")
        _, data = self.reader.element(UINT8)
        height, width = self.shape
        if min(self.shape) < 1 or height * width != len(data):
            raise ValueError(f"{len(data)} pixels for a size of {width} x {height}")
        return np.frombuffer(data, np.uint8).reshape(width, height).T
