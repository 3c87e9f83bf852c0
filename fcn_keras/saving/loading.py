"""Reads a trained model back from any of our file formats."""

from __future__ import annotations

import json
import math
import zipfile
from os import PathLike
from pathlib import Path
from typing import Any

import keras

from fcn_keras.errors import InputError
from fcn_keras.models.layers import without_initial_values
from fcn_keras.saving.blueprint import initialize, shapes_only
from fcn_keras.saving.compact import load_compact
from fcn_keras.saving.info import describe
from fcn_keras.saving.member import Member, checking

# Larger than any configuration, and more than any archive of weights can be compressed.
CONFIG_BYTES, UNPACKED = 2**24, 100
_WEIGHTS = "model.weights.h5"


def load_model(path: str | PathLike) -> keras.Model:
    """Reads a ``.keras`` or compact ``.safetensors`` file and makes sure that it segments images.

    Raises:
        InputError: the file is missing, damaged or of another kind, or its model doesn't map
            images ``(B, H, W, 3)`` to scores ``(B, H, W, classes)``.
    """
    path = Path(path)
    if not path.is_file():
        raise InputError(f"model {path} is not a file: name the .keras file of a trained model")
    model = load_compact(path) if path.suffix == ".safetensors" else _load_keras(path)
    num_classes(model, str(path))
    try:
        describe(model)
    except InputError as error:
        raise InputError(f"{path}: {error}") from error
    return model


def _load_keras(path: Path) -> keras.Model:
    if path.suffix != ".keras" or not zipfile.is_zipfile(path):
        raise InputError(
            f"model {path} is not a .keras file, or a damaged one: save it with model.save(PATH)"
        )
    try:
        with path.open("rb") as file, zipfile.ZipFile(file) as archive:
            if keras.backend.backend() == "jax":
                with checking(path, _WEIGHTS):
                    model = _without_values(archive, path.stat().st_size)
                    model.load_weights(Member(file, archive, _WEIGHTS))
                    initialize(model.variables)  # such as the seeds of dropout
                return model
            _without_values(archive, path.stat().st_size)  # raises if the file can't hold them
        with without_initial_values():  # other backends build models with values
            return keras.models.load_model(path, compile=False)
    except Exception as error:  # Keras, HDF5 and zip raise errors of any kind for a damaged file
        lines = [line.strip() for line in str(error).splitlines() if line.strip()]
        # Text from the file is printed without terminal codes.
        reason = ascii(lines[0])[1:-1] if lines else type(error).__name__
        raise InputError(f"model {path} can't be read: {reason:.300}") from error


def _without_values(archive: zipfile.ZipFile, file_size: int) -> keras.Model:
    """The model, whose variables have shapes only, if the file can hold as many weights.

    Raises:
        ValueError: it has more, or the archive would unpack to far more than its size.
    """
    sizes = {each.filename: each.file_size for each in archive.infolist()}
    if sizes["config.json"] > CONFIG_BYTES:
        raise ValueError(f"its configuration has {sizes['config.json']} bytes")
    if sum(sizes.values()) > UNPACKED * file_size:
        raise ValueError(f"it unpacks to {sum(sizes.values())} bytes")
    config = json.loads(archive.read("config.json"))
    config["compile_config"] = None
    with shapes_only():
        model = keras.saving.deserialize_keras_object(config)
    needed = sum(math.prod(variable.shape) for variable in model.variables)
    if needed > sizes[_WEIGHTS]:  # at least a byte each
        raise ValueError(f"its layers have {needed} weights, but it holds fewer")
    return model


def num_classes(model: keras.Model, name: str | None = None) -> int:
    """The channels of the model's scores.

    Raises:
        InputError: the model doesn't map images ``(B, H, W, 3)`` to scores ``(B, H, W, classes)``.
    """
    inputs: Any = getattr(model, "input_shape", None)
    outputs: Any = getattr(model, "output_shape", None)
    image = isinstance(inputs, tuple) and len(inputs) == 4 and inputs[3] == 3
    scores = isinstance(outputs, tuple) and len(outputs) == 4 and outputs[3] is not None
    if not (image and scores):
        raise InputError(
            f"model {name or model.name} maps {inputs} to {outputs}, but a segmentation model maps "
            "(batch, height, width, 3) to (batch, height, width, classes), as fcn_keras.fcn8s() "
            "does"
        )
    return model.output_shape[3]
