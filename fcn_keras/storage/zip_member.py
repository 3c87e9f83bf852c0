"""Where the files of a zip archive lie in it."""

from __future__ import annotations

import struct
import zipfile
from typing import Any

# A member's header begins with these four bytes, and ends with the lengths of its name and of
# further entries, which follow it (section 4.3.7 of the zip format).
_HEADER, ZIP_START = struct.Struct("<4s22xHH"), b"PK\x03\x04"


def start_of(file: Any, member: zipfile.ZipInfo) -> int:
    """The position in the archive's `file` at which the bytes of `member` begin.

    Raises:
        ValueError: the archive is damaged.
    """
    file.seek(member.header_offset)
    header = file.read(_HEADER.size)
    if len(header) < _HEADER.size or header[:4] != ZIP_START:
        name = ascii(member.filename)[:60]
        raise ValueError(f"entry {name} has no header; the file is damaged")
    _, *lengths = _HEADER.unpack(header)
    return member.header_offset + _HEADER.size + sum(lengths)
