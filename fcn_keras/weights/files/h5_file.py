"""HDF5 weight files: Keras' layouts, old and new, and the one that the converter writes.

Keras 3 puts the variables of a layer at ``layers/<class and number>/vars/<index>`` and names the
layer in an attribute of ``vars``. The converter writes the same with the layer's name in place of
its class, so that the file can be read by name with h5py alone:
``file["layers/block1_conv1/vars/0"]`` is a kernel ``(3, 3, 3, 64)`` and ``.../1`` a bias. What the
weights expect of the pixels is beside them, as ``scale`` and ``offset`` of ``normalize``.

Unlike torch files these are parsed by a C library, which a maliciously damaged file can crash:
open only what you trust.
"""

from __future__ import annotations

import io
import mmap
from collections.abc import Mapping
from math import prod
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from fcn_keras.storage import replacing
from fcn_keras.weights.files.torch_names import Refused
from fcn_keras.weights.rules import Normalization

H5_START = b"\x89HDF\r\n\x1a\n"
HEAP_START = b"GCOL\x01\x00\x00\x00"
MAX_DEPTH = 32
MAX_STRINGS = 1_000_000
MAX_ATTRIBUTE_BYTES = 1 << 16
# libhdf5 crashes on some others, if they are damaged.
ATTRIBUTE_TYPES = (h5py.h5t.TypeStringID, h5py.h5t.TypeIntegerID, h5py.h5t.TypeFloatID)


def read_h5(path: Path) -> dict[str, np.ndarray]:
    """Every data set by name: ``<layer>/vars/<index>`` for Keras 3, its path for older files.

    A layer "normalize" gives ``normalize/scale`` and ``normalize/offset``, empty where Keras
    wrote the file.

    Raises:
        ValueError: the file is damaged, claims more numbers than it holds, nests its groups
            absurdly, or refers to another file.
    """
    try:
        _check_heaps(path)
        with h5py.File(path) as file:
            root = file
            if "model_weights" in file:
                if not isinstance(file.get("model_weights", getlink=True), h5py.HardLink):
                    raise Refused("has its weights behind a link")
                root = file["model_weights"]
            collector = _Collector(path.stat().st_size)
            root.visititems(collector.visit)
    except Refused:
        raise
    except Exception as error:  # h5py raises many kinds of errors for a damaged file
        raise ValueError("is a damaged HDF5 file; fetch it again") from error
    return collector.tensors


def _check_heaps(path: Path) -> None:
    """Walks the heaps that hold strings: an object without length makes libhdf5 loop forever.

    Source of the layout: "HDF5 File Format Specification", version 3.0, sections II and III.E.
    """
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
        sizes = data[13:15] if data[8] < 2 else data[9:11]
        if sizes != b"\x08\x08":
            raise Refused("has no 8-byte addresses and lengths, as Keras writes them")
        start, seen = data.find(HEAP_START), 0
        while start >= 0:
            end = min(start + int.from_bytes(data[start + 8 : start + 16], "little"), len(data))
            place = start + 16
            while place + 16 <= end:
                index = int.from_bytes(data[place : place + 2], "little")
                length = int.from_bytes(data[place + 8 : place + 16], "little")
                # Object 0 is the free space, with its header.
                step = length if index == 0 else 16 + length + -length % 8
                seen += 1
                if not 16 <= step <= end - place or seen > MAX_STRINGS:
                    raise Refused("is a damaged HDF5 file; fetch it again")
                place += step
            start = data.find(HEAP_START, start + 1)


class _Collector:
    """Gathers the numbers of a file of `file_bytes` bytes, which can't hold more than that."""

    def __init__(self, file_bytes: int):
        self.tensors: dict[str, np.ndarray] = {}
        self.left = file_bytes

    def visit(self, name: str, item: h5py.Group | h5py.Dataset) -> None:
        if name.count("/") > MAX_DEPTH:
            raise Refused(f"nests its groups more than {MAX_DEPTH} deep")
        if isinstance(item, h5py.Dataset):
            self._take_data(name, item)
        elif self._layer(item) == "normalize":
            for key in ("scale", "offset"):
                numbers = np.asarray(self._attribute(item, key, ()), np.float64)
                self.tensors[f"normalize/{key}"] = numbers

    def _take_data(self, name: str, item: h5py.Dataset) -> None:
        shown = ascii(name)[:60]
        if item.external or item.is_virtual or item.dtype.kind not in "fiub":
            raise Refused(f"data set {shown} doesn't hold numbers of its own")
        self.left -= prod(item.shape) * item.dtype.itemsize  # h5py's own product can overflow
        if self.left < 0:
            raise Refused(f"data set {shown} claims more numbers than the file holds")
        layer = self._layer(item.parent)
        self.tensors[f"{layer}/vars/{name.rsplit('/')[-1]}" if layer else name] = item[()]

    def _layer(self, item: h5py.Group) -> str | None:
        name = self._attribute(item, "name")
        return name if isinstance(name, str) else None

    def _attribute(self, item: h5py.Group, key: str, default: Any = None) -> Any:
        if key not in item.attrs:
            return default
        attribute = item.attrs.get_id(key)
        if not isinstance(attribute.get_type(), ATTRIBUTE_TYPES):
            raise Refused(f"attribute {key} holds neither a text nor numbers")
        if prod(attribute.shape) * attribute.dtype.itemsize > MAX_ATTRIBUTE_BYTES:
            raise Refused(f"attribute {key} claims more than {MAX_ATTRIBUTE_BYTES} bytes")
        return item.attrs[key]


def write_h5(
    path: Path, variables: Mapping[str, list[np.ndarray]], normalization: Normalization
) -> None:
    """Writes the variables of layers by name, atomically, and what they expect of the pixels.

    Raises:
        SaveError: the file can't be written.
    """
    # In memory first: where a disk is full, libhdf5 prints hundreds of lines of its own.
    content = io.BytesIO()
    with h5py.File(content, "w") as file:
        for layer, arrays in variables.items():
            group = _layer_group(file, layer)
            for index, array in enumerate(arrays):
                group.create_dataset(str(index), data=array)
        group = _layer_group(file, "normalize")
        group.attrs["scale"] = normalization.scale
        group.attrs["offset"] = normalization.offset
    with replacing(path) as temporary:
        temporary.write_bytes(content.getvalue())


def _layer_group(file: h5py.File, layer: str) -> h5py.Group:
    group = file.create_group(f"layers/{layer}/vars")
    group.attrs["name"] = layer
    return group
