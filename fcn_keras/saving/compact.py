"""Compact model files: kernels in 8 bits, a quarter of the size of a ``.keras`` file.

They are safetensors files. The metadata holds the format's version, the model's blueprint
(`fcn_keras.saving.blueprint`) and a SHA-256 over it and all tensors. Files of format 1 hold a Keras
configuration instead, of which only the blueprint is read, and no checksum.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from os import PathLike
from pathlib import Path
from typing import Any

import keras
import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from fcn_keras.errors import InputError
from fcn_keras.models.anatomy import part
from fcn_keras.models.layers import Bilinear, Upsample
from fcn_keras.saving import blueprint
from fcn_keras.storage import replacing

SCALE = ".scale"
LEVELS = 127
FORMAT = "fcn-keras compact 2"
# What a damaged file can raise on the way to a model.
_DAMAGE = (
    ArithmeticError,
    AttributeError,
    LookupError,
    OSError,
    RecursionError,
    SafetensorError,
    TypeError,
    ValueError,
)


def save_compact(model: keras.Model, path: str | PathLike) -> None:
    """Writes `model` to a ``.safetensors`` file, which `fcn_keras.load_model` reads.

    A convolution's kernel is stored as int8 ``(h, w, C, F)`` and one float32 scale for each of
    the F filters, the largest absolute weight over 127; every other variable as it is. Bilinear
    kernels are left out, since building the model makes them.

    Raises:
        InputError: `path` doesn't end in .safetensors; the model is none of `fcn8s`, `fcn16s` or
            `fcn32s`; or a weight isn't finite.
    """
    path = Path(path)
    if path.suffix != ".safetensors":
        raise InputError(f"compact model {path} must be named *.safetensors")
    plan = json.dumps(blueprint.draw(model))
    tensors = {}
    for name, variable in _stored(model).items():
        value = keras.ops.convert_to_numpy(variable.value)
        if not np.isfinite(value).all():
            raise InputError(f"model {model.name}: {name} holds NaN or infinity")
        if value.ndim == 4:
            scale = np.maximum(np.abs(value).max(axis=(0, 1, 2)), 1e-30) / LEVELS
            tensors[name + SCALE] = scale.astype(np.float32)
            value = np.rint(value / scale).astype(np.int8)
        tensors[name] = np.ascontiguousarray(value)
    metadata = {"format": FORMAT, "model": plan, "sha256": _checksum(plan, tensors)}
    with replacing(path) as temporary:
        temporary.write_bytes(save(tensors, metadata=metadata))


def load_compact(path: str | PathLike) -> keras.Model:
    """The model that `save_compact` wrote, an ordinary one with kernels of the type they had.

    The tensors' names, types and shapes are compared with the model's before anything of its size
    is built, so that a file can't take more memory than a few times its own size.

    Raises:
        InputError: the file is damaged or was not written by `save_compact`.
    """
    try:
        with safe_open(path, "numpy") as file:
            metadata = file.metadata() or {}
            plan = _plan(metadata)
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        if "format" in metadata and metadata["sha256"] != _checksum(metadata["model"], tensors):
            raise ValueError("its contents don't match its checksum")
        _check_shapes(tensors, blueprint.raise_up(plan, with_variables=False))
        if not all(np.isfinite(value).all() for value in tensors.values()):
            raise ValueError("it holds NaN or infinity")
    except _DAMAGE as error:
        # Text from the file is printed without line breaks and colours.
        reason = ascii(str(error))[1:-1]
        raise InputError(
            f"model {path} is damaged or not a compact model ({reason:.300}): write one with "
            "fcn_keras.saving.save_compact"
        ) from error
    model = blueprint.raise_empty(plan)
    for variable in model.variables:
        if (name := variable.path) in tensors:
            variable.assign(tensors[name] * tensors.get(name + SCALE, 1))
    return model


def _plan(metadata: Mapping[str, str]) -> dict[str, Any]:
    if "format" not in metadata:
        config = json.loads(metadata["keras"])["config"]
        configs = {layer["config"]["name"]: layer["config"] for layer in config["layers"]}
        return blueprint.from_configs(configs, config["name"])
    if metadata["format"] != FORMAT:
        raise ValueError(f"its format is {metadata['format']!r}, not {FORMAT!r}: update fcn-keras")
    return json.loads(metadata["model"])


def _check_shapes(tensors: Mapping[str, np.ndarray], model: keras.Model) -> None:
    """Every variable of the model is there, as `save_compact` writes it, and nothing else."""
    expected = {}
    for variable in model.variables:
        name, shape = variable.path, tuple(variable.shape)
        if "float" not in variable.dtype:
            continue
        if len(shape) != 4:
            expected[name] = ("float32", shape)
        elif name in tensors or part(name.split("/")[0]) != "upsampling":
            expected[name] = ("int8", shape)
            expected[name + SCALE] = ("float32", shape[-1:])
    found = {name: (str(value.dtype), value.shape) for name, value in tensors.items()}
    for name in sorted(expected.keys() | found.keys()):
        if found.get(name) != expected.get(name):
            raise ValueError(f"{name} is {found.get(name)} in place of {expected.get(name)}")


def _checksum(plan: str, tensors: Mapping[str, np.ndarray]) -> str:
    """SHA-256 in hex over the blueprint and every tensor's name, type, shape and bytes."""
    digest = hashlib.sha256(f"{FORMAT}\n{plan}\n".encode())
    for name in sorted(tensors):
        value = tensors[name]
        digest.update(f"{name} {value.dtype.str} {value.shape}\n".encode())
        digest.update(np.ascontiguousarray(value).data)
    return digest.hexdigest()


def _stored(model: keras.Model) -> dict[str, keras.Variable]:
    """The variables by path, without those that building the model or each run determines."""
    given = {
        layer.kernel.path
        for layer in model.layers
        if isinstance(layer, Upsample) and _is_bilinear(layer.kernel)
    }
    return {v.path: v for v in model.variables if v.path not in given and "float" in v.dtype}


def _is_bilinear(kernel: keras.Variable) -> bool:
    values = keras.ops.convert_to_numpy(kernel.value)
    return np.array_equal(values, keras.ops.convert_to_numpy(Bilinear()(kernel.shape)))
