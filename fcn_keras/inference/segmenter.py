"""Running a trained model: any photo in, a class map of its size out."""

from __future__ import annotations

from collections.abc import Callable
from os import PathLike

import keras
import numpy as np
from keras import ops

from fcn_keras import cpu
from fcn_keras.errors import InputError
from fcn_keras.inference.compiled import bind
from fcn_keras.inference.padding import pad, runner
from fcn_keras.saving import load_model, num_classes


class Segmenter:
    """Segments photos of any size.

    Each photo is padded at the bottom and right up to a multiple of `bucket` pixels and the result
    is cropped back, so that under JAX many photo sizes share few compiles. The padding doesn't
    change the result (`fcn_keras.inference.padding`). ``bucket=1`` runs every size as it is.

    Args:
        model: A model, or the path of its ``.keras`` or compact file.
        bucket: Height and width are padded to multiples of this many pixels.

    Raises:
        InputError: the file can't be read, or is not a segmentation model.
    """

    def __init__(self, model: keras.Model | str | PathLike, *, bucket: int = 128):
        cpu.prepare()
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
