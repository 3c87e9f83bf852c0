"""Compact model files: kernels in 8 bits, a quarter of the size of a ``.keras`` file."""

from __future__ import annotations

import json
from os import PathLike
from pathlib import Path

import keras
import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from fcn_keras.errors import InputError
from fcn_keras.models.layers import Bilinear, Upsample, without_initial_values
from fcn_keras.storage import replacing

SCALE = ".scale"
LEVELS = 127


def save_compact(model: keras.Model, path: str | PathLike) -> None:
    """Writes `model` to a ``.safetensors`` file, which `fcn_keras.inference.load_model` reads.

    A convolution's kernel is stored as int8 ``(h, w, C, F)`` and one float32 scale for each of
    the F filters, the largest absolute weight over 127; every other variable as it is. Bilinear
    kernels are left out, since building the model makes them. The file's metadata holds the
    model's Keras configuration.

    Raises:
        InputError: `path` doesn't end in .safetensors.
    """
    path = Path(path)
    if path.suffix != ".safetensors":
        raise InputError(f"compact model {path} must be named *.safetensors")
    tensors = {}
    for name, variable in _stored(model).items():
        value = np.asarray(variable.value)
        if value.ndim == 4:
            scale = np.maximum(np.abs(value).max(axis=(0, 1, 2)), 1e-30) / LEVELS
            tensors[name + SCALE] = scale.astype(np.float32)
            value = np.rint(value / scale).astype(np.int8)
        tensors[name] = value
    config = keras.saving.serialize_keras_object(model)
    with replacing(path) as temporary:
        temporary.write_bytes(save(tensors, metadata={"keras": json.dumps(config)}))


def load_compact(path: str | PathLike) -> keras.Model:
    """The model that `save_compact` wrote, an ordinary one with float32 kernels.

    Raises:
        InputError: the file is damaged or was not written by `save_compact`.
    """
    try:
        with safe_open(path, "numpy") as file, without_initial_values():
            model = keras.saving.deserialize_keras_object(json.loads(file.metadata()["keras"]))
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        if not isinstance(model, keras.Model):
            raise ValueError("its configuration makes no model")
        names = _stored(model).keys() | tensors.keys()
        for variable in model.variables:
            if (name := variable.path) in names:
                value = tensors[name]
                scale = tensors[name + SCALE] if value.dtype == np.int8 else 1
                variable.assign(value * scale)
    except (KeyError, OSError, SafetensorError, TypeError, ValueError) as error:
        raise InputError(
            f"model {path} is damaged or no compact model ({error}): write one with "
            "fcn_keras.saving.save_compact"
        ) from error
    return model


def _stored(model: keras.Model) -> dict[str, keras.Variable]:
    """The variables by path that neither building the model gives nor a run draws anew."""
    given = {
        layer.kernel.path
        for layer in model.layers
        if isinstance(layer, Upsample) and _is_bilinear(layer.kernel)
    }
    return {v.path: v for v in model.variables if v.path not in given and "float" in v.dtype}


def _is_bilinear(kernel: keras.Variable) -> bool:
    return np.array_equal(kernel.value, Bilinear()(kernel.shape))
