"""Torch's two file formats: where the pickled object lies, and where its numbers lie.

Source of the layouts: ``torch/serialization.py`` (``_legacy_save`` and ``_save``).
Each reader returns the object, with `Tensor` descriptions in it, and the storages as flat arrays
that are views of the file. Claimed sizes are compared with the file's before anything is allocated.
"""

from __future__ import annotations

import io
import mmap
import struct
import zipfile
import zlib

import numpy as np

from fcn_keras.storage.zip_member import start_of
from fcn_keras.weights.files.torch_names import Storage
from fcn_keras.weights.files.unpickle import load_pickle

LEGACY_MAGIC = 0x1950A86A20F9469CFC6C
LEGACY_VERSION = 1001
PICKLE_START = b"\x80"

Contents = tuple[object, dict[str, np.ndarray]]


def read_legacy(data: mmap.mmap) -> Contents:
    """Five pickles (magic, version, platform, object, storage keys), then the storages.

    Each storage is its length as int64, then its numbers, in the order of the keys.
    """
    data.seek(0)
    magic, _ = load_pickle(data)
    if magic != LEGACY_MAGIC:
        raise ValueError("is a pickle, but not a torch checkpoint")
    version, _ = load_pickle(data)
    if version != LEGACY_VERSION:
        # Containers aren't shown: one that nests another twice, and so on, would print without end.
        shown = version if isinstance(version, int) and version < 2**63 else "unknown"
        raise ValueError(f"has version {shown} of the legacy format, not {LEGACY_VERSION}")
    platform, _ = load_pickle(data)
    if not isinstance(platform, dict) or platform.get("little_endian") is not True:
        raise ValueError("is not marked little-endian; save it again on a little-endian machine")
    content, storages = load_pickle(data)
    keys, _ = load_pickle(data)
    if (
        not isinstance(keys, list)
        or not all(type(key) is str for key in keys)
        or set(keys) != set(storages)
    ):
        raise ValueError("lists other storages than its tensors need; it is damaged")
    arrays, position = {}, data.tell()
    for key in keys:
        length = int.from_bytes(data[position : position + 8], "little")
        if length != storages[key].length:
            raise ValueError(f"storage {key!r:.40} has another length than its tensors say")
        arrays[key] = _storage_at(data, storages[key], position + 8)
        position += 8 + arrays[key].nbytes
    return content, arrays


def read_zip(data: mmap.mmap) -> Contents:
    """A zip file of stored entries: ``NAME/data.pkl`` and one ``NAME/data/KEY`` a storage."""
    entries = _entries(data)
    pickles = [name for name in entries if name.endswith("/data.pkl")]
    if len(pickles) != 1:
        raise ValueError("is a zip file without data.pkl, so not a torch checkpoint")
    folder = pickles[0].removesuffix("data.pkl")
    order = entries.get(folder + "byteorder")
    if order is not None and _entry_bytes(data, order) != b"little":
        raise ValueError("is not marked little-endian; save it again on a little-endian machine")
    content, storages = load_pickle(io.BytesIO(_entry_bytes(data, entries[pickles[0]])))
    arrays = {}
    for key, storage in storages.items():
        entry = entries.get(f"{folder}data/{key}")
        size = storage.length * storage.dtype.itemsize
        if entry is None or entry.file_size != size:
            found = "is missing" if entry is None else f"has {entry.file_size} bytes"
            raise ValueError(f"storage {key!r:.40} {found}, but its tensors need {size} bytes")
        arrays[key] = _storage_at(data, storage, _checked_start(data, entry))
    return content, arrays


def _storage_at(data: mmap.mmap, storage: Storage, start: int) -> np.ndarray:
    end = start + storage.length * storage.dtype.itemsize
    if end > len(data):
        raise ValueError(
            f"is cut off: storage {storage.key!r:.40} ends at byte {end}, "
            f"the file at {len(data)}; fetch it again"
        )
    if storage.length == 0:
        return np.empty(0, storage.dtype)
    return np.frombuffer(data, storage.dtype, storage.length, start)


def _entries(data: mmap.mmap) -> dict[str, zipfile.ZipInfo]:
    try:
        with zipfile.ZipFile(data) as archive:  # type: ignore[call-overload]  # reads like a file
            entries = archive.infolist()
    except (zipfile.BadZipFile, struct.error, NotImplementedError, ValueError) as error:
        raise ValueError(f"is a damaged zip file ({error}); fetch it again") from error
    if sum(entry.file_size for entry in entries) > len(data):
        raise ValueError("is a zip file whose entries claim more bytes than it has")
    return {entry.filename: entry for entry in entries}


def _checked_start(data: mmap.mmap, entry: zipfile.ZipInfo) -> int:
    """Where a stored entry's bytes begin, once they are known to be whole."""
    name = ascii(entry.filename)[:60]
    if entry.compress_type != zipfile.ZIP_STORED or entry.file_size != entry.compress_size:
        raise ValueError(f"entry {name} is compressed, which torch never does")
    start = start_of(data, entry)
    if start + entry.file_size > len(data):
        raise ValueError(f"entry {name} is cut off; fetch the file again")
    with memoryview(data) as view, view[start : start + entry.file_size] as body:
        if zlib.crc32(body) != entry.CRC:
            raise ValueError(f"entry {name} doesn't have its checksum; fetch the file again")
    return start


def _entry_bytes(data: mmap.mmap, entry: zipfile.ZipInfo) -> bytes:
    start = _checked_start(data, entry)
    return data[start : start + entry.file_size]
