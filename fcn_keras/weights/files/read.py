"""Reads a file of weights of any kind, by its content rather than its name."""

from __future__ import annotations

from os import PathLike
from pathlib import Path

import ml_dtypes
import numpy as np
import safetensors

from fcn_keras.errors import InputError
from fcn_keras.weights.files.h5_file import H5_START, read_h5
from fcn_keras.weights.files.torch_file import map_file, read_torch

_SAFETENSORS_TYPES = {
    "F64": np.float64,
    "F32": np.float32,
    "F16": np.float16,
    "BF16": ml_dtypes.bfloat16,
}


def read_tensors(path: str | PathLike) -> dict[str, np.ndarray]:
    """All tensors of a torch checkpoint, a safetensors file or a Keras HDF5 file, by name.

    The prefix ``module.`` of torch's DataParallel is dropped.

    Raises:
        InputError: the file is damaged or of another kind.
    """
    path = Path(path)
    start = map_file(path)[:9]
    try:
        if start.startswith(H5_START):
            tensors = read_h5(path)
        elif start[8:] == b"{":
            tensors = _read_safetensors(path)
        else:
            tensors = read_torch(path)
    except InputError:
        raise
    except ValueError as error:
        raise InputError(f"{path}: {error}") from error
    if tensors and all(name.startswith("module.") for name in tensors):
        return {name.removeprefix("module."): array for name, array in tensors.items()}
    return tensors


def _read_safetensors(path: Path) -> dict[str, np.ndarray]:
    """The floating-point tensors; bfloat16 becomes float32."""
    try:
        entries = safetensors.deserialize(path.read_bytes())
    except safetensors.SafetensorError as error:
        raise ValueError(f"is a damaged safetensors file ({error}); fetch it again") from error
    tensors = {}
    for name, entry in entries:
        if entry["dtype"] in _SAFETENSORS_TYPES:
            numbers = np.frombuffer(entry["data"], _SAFETENSORS_TYPES[entry["dtype"]])
            numbers = numbers.astype(np.float32) if entry["dtype"] == "BF16" else numbers
            tensors[name] = numbers.reshape(entry["shape"])
    return tensors
