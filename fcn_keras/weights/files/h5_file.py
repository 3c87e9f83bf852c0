"""HDF5 weight files: Keras' layouts of all ages, and the one that the converter writes.

Keras 3 puts the variables of a layer at ``layers/<class and number>/vars/<index>`` and names the
layer in an attribute of ``vars``. The converter writes the same with the layer's name in place of
its class, so that the file can be read by name with h5py alone:
``file["layers/block1_conv1/vars/0"]`` is a kernel ``(3, 3, 3, 64)`` and ``.../1`` a bias. What the
weights expect of the pixels is beside them, as ``scale`` and ``offset`` of ``normalize``.

Unlike torch files these are parsed by a C library, which a maliciously damaged file can crash:
open only what you trust.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import h5py
import numpy as np

from fcn_keras.errors import InputError
from fcn_keras.storage import SaveError, replacing
from fcn_keras.weights.rules import Normalization

H5_START = b"\x89HDF\r\n\x1a\n"


def read_h5(path: Path) -> dict[str, np.ndarray]:
    """Every data set by name: ``<layer>/vars/<index>`` for Keras 3, its path for older files.

    A layer "normalize" gives ``normalize/scale`` and ``normalize/offset``, empty where Keras
    wrote the file.

    Raises:
        ValueError: the file is damaged, or claims more numbers than it holds.
    """
    tensors: dict[str, np.ndarray] = {}
    try:
        with h5py.File(path) as file:
            root = file.get("model_weights", file)
            root.visititems(lambda name, item: _collect(tensors, name, item, path))
    except (OSError, RuntimeError, KeyError, TypeError) as error:
        raise ValueError("is a damaged HDF5 file; fetch it again") from error
    return tensors


def _collect(
    tensors: dict[str, np.ndarray], name: str, item: h5py.Group | h5py.Dataset, path: Path
) -> None:
    if isinstance(item, h5py.Dataset):
        if item.external or item.is_virtual or item.dtype.kind not in "fiub":
            raise ValueError(f"data set {ascii(name)[:60]} doesn't hold numbers of its own")
        if item.nbytes > path.stat().st_size:
            raise ValueError(f"data set {ascii(name)[:60]} claims more numbers than the file holds")
        layer = item.parent.attrs.get("name")
        tensors[f"{layer}/vars/{name.rsplit('/')[-1]}" if layer else name] = item[()]
    elif item.attrs.get("name") == "normalize":
        for key in ("scale", "offset"):
            tensors[f"normalize/{key}"] = np.asarray(item.attrs.get(key, ()), np.float64)


def write_h5(
    path: Path, variables: Mapping[str, list[np.ndarray]], normalization: Normalization
) -> None:
    """Writes the variables of layers by name, atomically, and what they expect of the pixels.

    Raises:
        InputError: the file can't be written.
    """
    try:
        with replacing(path) as temporary, h5py.File(temporary, "w") as file:
            for layer, arrays in variables.items():
                group = _layer_group(file, layer)
                for index, array in enumerate(arrays):
                    group.create_dataset(str(index), data=array)
            group = _layer_group(file, "normalize")
            group.attrs["scale"] = normalization.scale
            group.attrs["offset"] = normalization.offset
    except SaveError as error:
        raise InputError(str(error)) from error


def _layer_group(file: h5py.File, layer: str) -> h5py.Group:
    group = file.create_group(f"layers/{layer}/vars")
    group.attrs["name"] = layer
    return group
