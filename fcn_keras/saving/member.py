"""A file of a zip archive, read where it lies."""

from __future__ import annotations

import contextlib
import io
import mmap
import os
import zipfile
import zlib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from fcn_keras.storage.zip_member import start_of


class Member(io.BytesIO):
    """The contents of a member, seekable; `str` gives the member's name.

    What isn't compressed, such as the weights in a ``.keras`` file, is never in memory as a whole.
    It is an `io.BytesIO` because Keras reads weights of no other kind of file.

    Args:
        file: The archive's file, open for reading as long as the member is read.
        archive: Opened from `file`.
        name: The member's.

    Raises:
        KeyError: the archive has no such member.
        ValueError, zipfile.BadZipFile: the archive is damaged.
    """

    def __init__(self, file: io.BufferedIOBase, archive: zipfile.ZipFile, name: str):
        self._name, self._position = name, 0
        info = archive.getinfo(name)
        if info.compress_type == zipfile.ZIP_STORED:
            self._start = start_of(file, info)
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


@contextlib.contextmanager
def checking(path: Path, name: str) -> Iterator[None]:
    """Compares the checksum of an archive's stored member, while what is inside runs.

    That of a packed one is compared as `Member` unpacks it.

    Raises:
        zipfile.BadZipFile: the member is damaged.
    """
    with ThreadPoolExecutor(1) as pool:
        checked = pool.submit(_check, path, name)
        yield
        checked.result()


def _check(path: Path, name: str) -> None:
    with path.open("rb") as file, zipfile.ZipFile(file) as archive:
        info = archive.getinfo(name)
        if info.compress_type != zipfile.ZIP_STORED:
            return
        start = start_of(file, info)
        # Read where it lies, since copies take from those who read it meanwhile.
        with (
            mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as contents,
            memoryview(contents) as whole,
            whole[start : start + info.file_size] as member,
        ):
            if zlib.crc32(member) != info.CRC:
                raise zipfile.BadZipFile(f"Bad CRC-32 for file {name!r}")
