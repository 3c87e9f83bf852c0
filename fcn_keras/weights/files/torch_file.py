"""Reads torch checkpoints without torch."""

from __future__ import annotations

import mmap
from math import prod
from os import PathLike
from pathlib import Path

import ml_dtypes
import numpy as np

from fcn_keras.errors import InputError
from fcn_keras.storage.zip_member import ZIP_START
from fcn_keras.weights.files.torch_formats import PICKLE_START, read_legacy, read_zip
from fcn_keras.weights.files.torch_names import Tensor

# Trainers put the weights beside epoch numbers and optimiser states, under one of these.
WRAPPERS = ("state_dict", "model_state_dict", "model_state", "model")


def read_torch(path: str | PathLike) -> dict[str, np.ndarray]:
    """The tensors of a state dict that ``torch.save`` wrote, by name.

    Reads the zip format and the legacy format (torch before 1.6). A state dict under
    ``state_dict``, ``model_state_dict``, ``model_state`` or ``model`` is found. Arrays have the
    shapes and number types of the tensors, bfloat16 as float32. They are read-only views of the
    file, which stays mapped as long as one of them lives, and share memory where the tensors did.
    Nothing that the file names is imported or called.

    Raises:
        InputError: the file is damaged or not a torch checkpoint, or holds anything besides
            tensors, plain containers, numbers and strings.
    """
    path = Path(path)
    data = map_file(path)
    try:
        if data[:4] == ZIP_START:
            content, storages = read_zip(data)
        elif data[:1] == PICKLE_START:
            content, storages = read_legacy(data)
        elif data[257:262] == b"ustar":
            raise ValueError("is in torch's tar format of 2016; save it again with a newer torch")
        else:
            raise ValueError("is not a torch checkpoint, in neither the zip nor the legacy format")
        plain: dict[tuple, np.ndarray] = {}
        return {
            name: _array(name, tensor, storages, plain)
            for name, tensor in _state_dict(content).items()
        }
    except ValueError as error:
        raise InputError(f"{path}: {error}") from error


def map_file(path: Path) -> mmap.mmap:
    """The file's bytes, mapped for reading.

    Raises:
        InputError: it doesn't exist, is empty or can't be read.
    """
    if not path.is_file():
        raise InputError(f"{path} doesn't exist or is not a file; name a file of weights")
    try:
        with path.open("rb") as file:
            return mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    except OSError as error:
        raise InputError(f"{path} can't be read: {error.strerror}") from error
    except ValueError:
        raise InputError(f"{path} is empty; fetch it again") from None


def _state_dict(content: object) -> dict[str, Tensor]:
    if not isinstance(content, dict):
        kind = type(content).__name__.lower()
        raise ValueError(f"holds a {kind}, not a state dict; save model.state_dict()")
    inner = next((content[key] for key in WRAPPERS if isinstance(content.get(key), dict)), content)
    named = {
        name: value
        for name, value in inner.items()
        if isinstance(name, str) and isinstance(value, Tensor)
    }
    if not named:
        raise ValueError("holds no tensors by name; save model.state_dict()")
    return named


def _array(
    name: str, tensor: Tensor, storages: dict[str, np.ndarray], plain: dict[tuple, np.ndarray]
) -> np.ndarray:
    """The tensor as a strided view; `plain` keeps the storages that had to be rewritten."""
    key = tensor.storage.key, tensor.dtype
    if key not in plain:
        plain[key] = _numpy_numbers(storages[tensor.storage.key], tensor.dtype)
    numbers = plain[key]
    count = prod(tensor.size)
    if count == 0:
        return np.empty(tensor.size, numbers.dtype)
    steps = [s if n > 1 else 0 for n, s in zip(tensor.size, tensor.stride, strict=True)]
    last = tensor.offset + sum((n - 1) * s for n, s in zip(tensor.size, steps, strict=True))
    # Fewer stored numbers than entries (an expanded tensor) would let a small file claim anything.
    if last >= numbers.size or count > numbers.size:
        raise ValueError(
            f"tensor {ascii(name)[:60]} of shape {tensor.size} doesn't fit in its storage "
            f"of {numbers.size} numbers"
        )
    return np.lib.stride_tricks.as_strided(
        numbers[tensor.offset :],
        tensor.size,
        [s * numbers.itemsize for s in steps],
        writeable=False,
    )


def _numpy_numbers(storage: np.ndarray, dtype: np.dtype) -> np.ndarray:
    numbers = storage.view(dtype)
    if dtype == ml_dtypes.bfloat16:
        return numbers.astype(np.float32)
    if dtype == np.bool_:
        return numbers.view(np.uint8) != 0  # a damaged file's bytes may be neither 0 nor 1
    return numbers
