"""What a torch checkpoint may ask for by name, and what each name becomes here.

Source of the names and their arguments: ``torch/_utils.py`` and ``torch/serialization.py``.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

import ml_dtypes
import numpy as np

T = TypeVar("T")

MAX_DIMENSIONS = 32

_DTYPES = {
    "Float": np.dtype("float32"),
    "Double": np.dtype("float64"),
    "Half": np.dtype("float16"),
    "BFloat16": np.dtype(ml_dtypes.bfloat16),
    "Long": np.dtype("int64"),
    "Int": np.dtype("int32"),
    "Short": np.dtype("int16"),
    "Char": np.dtype("int8"),
    "Byte": np.dtype("uint8"),
    "Bool": np.dtype("bool"),
    "ComplexFloat": np.dtype("complex64"),
    "ComplexDouble": np.dtype("complex128"),
}
_UNSIGNED = {name: np.dtype(name) for name in ("uint16", "uint32", "uint64")}


@dataclass(frozen=True)
class Storage:
    """A run of `length` numbers that the file holds elsewhere under `key`."""

    key: str
    dtype: np.dtype
    length: int


@dataclass(frozen=True)
class Tensor:
    """A strided window on a storage; `offset` and `stride` count numbers, not bytes."""

    storage: Storage
    dtype: np.dtype
    offset: int
    size: tuple[int, ...]
    stride: tuple[int, ...]


@dataclass(frozen=True)
class Builder:
    """What an allowed global turns into: a function of plain data, or just a type's name."""

    name: str
    call: Callable | None = None
    dtype: np.dtype | None = None


class Refused(ValueError):
    """A request that is well-formed but not granted."""


def expect(value: Any, kind: type[T]) -> T:
    """`value`, which must be a `kind` and not one of its subclasses.

    Raises:
        TypeError: it isn't.
    """
    if type(value) is not kind:
        raise TypeError(f"{type(value).__name__} in place of {kind.__name__}")
    return value


def hashable(key: object) -> object:
    """`key`, which must be a string, a number or None.

    Raises:
        TypeError: it isn't.
    """
    # Hashing nested tuples recurses without a limit in C, so a deep one would end the process.
    if type(key) not in (str, int, float, bool, type(None)):
        raise TypeError(f"{type(key).__name__} as a key")
    return key


def _whole(value: object) -> int:
    number = expect(value, int)
    if not 0 <= number < 2**63:
        raise ValueError("out of range")
    return number


def storage_of(arguments: tuple) -> Storage:
    """The persistent id ``("storage", type, key, device, length)``; legacy files add a view."""
    expect(arguments, tuple)
    tag, kind, key, _, length, *view = arguments
    if tag != "storage" or not isinstance(kind, Builder) or kind.dtype is None:
        raise TypeError("not a storage")
    if view not in ([], [None]):
        raise Refused("holds views of storages, as torch before 0.4 wrote; save it again")
    expect(key, str)
    return Storage(key, kind.dtype, _whole(length))


def _tensor(
    storage: Any,
    offset: Any,
    size: Any,
    stride: Any,
    *ignored: Any,
    dtype: np.dtype | None = None,
) -> Tensor:
    """Arguments of torch's ``_rebuild_tensor`` and ``_rebuild_tensor_v2``."""
    expect(storage, Storage)
    expect(size, tuple)
    expect(stride, tuple)
    if len(size) != len(stride) or len(size) > MAX_DIMENSIONS:
        raise ValueError("dimensions")
    size, stride = tuple(map(_whole, size)), tuple(map(_whole, stride))
    return Tensor(storage, dtype or storage.dtype, _whole(offset), size, stride)


def _untyped_tensor(
    storage: Any,
    offset: Any,
    size: Any,
    stride: Any,
    requires_grad: Any,
    hooks: Any,
    dtype: Any,
    *ignored: Any,
) -> Tensor:
    """Arguments of ``_rebuild_tensor_v3``: for number types that have no storage class."""
    expect(dtype, Builder)
    return _tensor(storage, offset, size, stride, dtype=dtype.dtype)


def _parameter(data: Any, requires_grad: Any, hooks: Any) -> Tensor:
    return expect(data, Tensor)


def _ordered_dict(pairs: list | None = None) -> dict:
    if pairs is None:
        return {}
    expect(pairs, list)
    for pair in pairs:
        if type(pair) not in (list, tuple) or len(pair) != 2:
            raise TypeError("not a pair")
    return {hashable(key): value for key, value in pairs}


def _set(items: list) -> set:
    expect(items, list)
    return set(map(hashable, items))


def _size(sizes: tuple) -> tuple:
    return expect(sizes, tuple)


def _allowed() -> dict[str, Builder]:
    calls: dict[str, Callable] = {
        "collections.OrderedDict": _ordered_dict,
        "builtins.set": _set,
        "torch.Size": _size,
        "torch._utils._rebuild_tensor": _tensor,
        "torch._utils._rebuild_tensor_v2": _tensor,
        "torch._utils._rebuild_tensor_v3": _untyped_tensor,
        "torch._utils._rebuild_parameter": _parameter,
    }
    builders = {name: Builder(name, call=call) for name, call in calls.items()}
    types = {f"torch.{name}Storage": dtype for name, dtype in _DTYPES.items()}
    types |= {f"torch.cuda.{name}Storage": dtype for name, dtype in _DTYPES.items()}
    types |= {f"torch.{dtype}": dtype for dtype in [*_DTYPES.values(), *_UNSIGNED.values()]}
    types |= {"torch.storage.UntypedStorage": np.dtype("uint8")}
    return builders | {name: Builder(name, dtype=dtype) for name, dtype in types.items()}


_ALLOWED = _allowed()


def find_global(module: str, name: str) -> Builder:
    """What ``module.name`` becomes.

    Raises:
        Refused: it is not one of the names that torch writes for tensors and containers.
        TypeError: `module` or `name` is not a string.
    """
    expect(module, str)
    expect(name, str)
    module = module.replace("__builtin__", "builtins")  # Python 2
    full = f"{module}.{name}"
    if full not in _ALLOWED:
        shown = ascii(full)[1:-1][:100]
        raise Refused(
            f"asks for {shown}, but only tensors and plain containers are read; "
            "save model.state_dict() alone"
        )
    return _ALLOWED[full]
