"""Running a trained model: any photo in, a class map of its size out."""

from __future__ import annotations

import zipfile
from collections.abc import Callable
from os import PathLike
from pathlib import Path

import keras
import numpy as np
from keras import ops

from fcn_keras.buckets import pad, runner
from fcn_keras.compact import load_compact
from fcn_keras.errors import InputError
from fcn_keras.models.layers import without_initial_values


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
    return model


def _load_keras(path: Path) -> keras.Model:
    if path.suffix != ".keras" or not zipfile.is_zipfile(path):
        raise InputError(
            f"model {path} is not a .keras file, or a damaged one: save it with model.save(PATH)"
        )
    try:
        with without_initial_values():
            return keras.models.load_model(path, compile=False)
    except (KeyError, OSError, TypeError, ValueError, zipfile.BadZipFile) as error:
        reason = str(error).strip().split("\n")[0]
        raise InputError(f"model {path} can't be read: {reason}") from error


def num_classes(model: keras.Model, name: str | None = None) -> int:
    """The channels of the model's scores.

    Raises:
        InputError: the model doesn't map images ``(B, H, W, 3)`` to scores ``(B, H, W, classes)``.
    """
    inputs, outputs = getattr(model, "input_shape", None), getattr(model, "output_shape", None)
    image = isinstance(inputs, tuple) and len(inputs) == 4 and inputs[3] == 3
    scores = isinstance(outputs, tuple) and len(outputs) == 4 and outputs[3] is not None
    if not (image and scores):
        raise InputError(
            f"model {name or model.name} maps {inputs} to {outputs}, but a segmentation model maps "
            "(batch, height, width, 3) to (batch, height, width, classes): train one with "
            "experiments.train"
        )
    return outputs[3]


def bind(model: keras.Model, function: Callable) -> Callable:
    """``f(images, *rest) = function(predict, images, *rest)``, ``predict`` being `model`.

    Under JAX ``f`` is compiled once for each input shape. It reads the model's weights at each
    call, so that training between two calls neither recompiles it nor goes unnoticed. On other
    backends it runs as it is, without gradients. ``function`` is written in `keras.ops`.
    """
    if keras.backend.backend() != "jax":
        return _without_gradients(lambda *args: function(_eager(model), *args))
    from fcn_keras.jit import jit

    @jit
    def step(trainable, non_trainable, images, *rest):
        def predict(images):
            return model.stateless_call(trainable, non_trainable, images, training=False)[0]

        return function(predict, images, *rest)

    def call(images, *rest):
        trainable = [variable.value for variable in model.trainable_variables]
        non_trainable = [variable.value for variable in model.non_trainable_variables]
        return step(trainable, non_trainable, images, *rest)

    call.compiles = step._cache_size
    return call


def _eager(model: keras.Model) -> Callable:
    return lambda images: model(images, training=False)


def _without_gradients(function: Callable) -> Callable:
    if keras.backend.backend() != "torch":
        return function
    import torch

    return torch.no_grad()(function)


class Segmenter:
    """Segments photos of any size.

    Each photo is padded at the bottom and right up to a multiple of `bucket` pixels and the result
    is cropped back, so that under JAX many photo sizes share few compiles. The padding doesn't
    change the result (`fcn_keras.buckets`). ``bucket=1`` runs every size as it is.

    Args:
        model: A model, or the path of its ``.keras`` or compact file.
        bucket: Height and width are padded to multiples of this many pixels.

    Raises:
        InputError: the file can't be read, or is not a segmentation model.
    """

    def __init__(self, model: keras.Model | str | PathLike, *, bucket: int = 128):
        self.model = load_model(model) if isinstance(model, str | PathLike) else model
        self.num_classes = num_classes(self.model)
        self.bucket = bucket
        padded, self._fill = runner(self.model, bucket)
        self._logits = bind(padded, lambda predict, images: predict(images))
        self._classes = bind(padded, _classes)

    def __call__(self, image: np.ndarray) -> np.ndarray:
        """The class map uint8 ``(H, W)`` of an RGB image uint8 ``(H, W, 3)``."""
        return self._run(self._classes, image)

    def logits(self, image: np.ndarray) -> np.ndarray:
        """The scores float32 ``(H, W, C)`` of an RGB image uint8 ``(H, W, 3)``."""
        return self._run(self._logits, image)

    @property
    def compiles(self) -> int:
        """How many shapes have been compiled so far (JAX only)."""
        return self._logits.compiles() + self._classes.compiles()

    def _run(self, function: Callable, image: np.ndarray) -> np.ndarray:
        image = np.asarray(image)
        if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8 or not image.size:
            raise InputError(
                f"the image is {image.dtype} {image.shape}, but must be uint8 (height, width, 3)"
            )
        output = function(pad(image, self.bucket, self._fill)[None])
        return ops.convert_to_numpy(output)[0, : image.shape[0], : image.shape[1]]


def _classes(predict: Callable, images):
    return ops.cast(ops.argmax(predict(images), axis=-1), "uint8")
