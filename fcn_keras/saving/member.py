"""A file of a zip archive, read where it lies."""

from __future__ import annotations

import io
import os
import struct
import zipfile
from typing import Any

_CHUNK = 2**20
# The header in front of a member ends with the lengths of its name and of further entries, which
# follow it (section 4.3.7 of the zip format).
_HEADER = struct.Struct("<26xHH")


class Member(io.BytesIO):
    """The contents of a member, seekable, whose checksum is right; `str` gives the member's name.

    What isn't compressed, such as the weights in a ``.keras`` file, is never in memory as a whole.
    It is an `io.BytesIO` because Keras reads weights of no other kind of file.

    Args:
        file: The archive's file, open for reading as long as the member is read.
        archive: Opened from `file`.
        name: The member's.

    Raises:
        KeyError: the archive has no such member.
        zipfile.BadZipFile: the member is damaged.
    """

    def __init__(self, file: io.BufferedIOBase, archive: zipfile.ZipFile, name: str):
        self._name, self._position = name, 0
        info = archive.getinfo(name)
        if info.compress_type == zipfile.ZIP_STORED:
            with archive.open(info) as member:  # compares the checksum at the end
                while member.read(_CHUNK):
                    pass
            file.seek(info.header_offset)
            lengths = _HEADER.unpack(file.read(_HEADER.size))
            self._start = info.header_offset + _HEADER.size + sum(lengths)
        else:
            file, self._start = io.BytesIO(archive.read(info)), 0
        self._file, self._size = file, info.file_size
        super().__init__()

    def __str__(self) -> str:
        return self._name

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """As of any file."""
        origins = {os.SEEK_SET: 0, os.SEEK_CUR: self._position, os.SEEK_END: self._size}
        self._position = origins[whence] + offset
        return self._position

    def tell(self) -> int:
        """As of any file."""
        return self._position

    def readinto(self, buffer: Any) -> int:
        """Fills `buffer` up to the member's end. Returns how many bytes it got."""
        wanted = memoryview(buffer).cast("B")[: max(0, self._size - self._position)]
        self._file.seek(self._start + self._position)
        count = self._file.readinto(wanted)
        self._position += count
        return count

    def read(self, size: int | None = -1) -> bytes:
        """The next `size` bytes; all that are left without it."""
        left = max(0, self._size - self._position)
        buffer = bytearray(left if size is None or size < 0 else min(size, left))
        return bytes(memoryview(buffer)[: self.readinto(buffer)])
