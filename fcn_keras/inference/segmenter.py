"""Runs a trained model: any photo in, a class map of its size out."""

from __future__ import annotations

import gc
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from os import PathLike
from typing import Any, overload

import keras
import numpy as np
from keras import ops

from fcn_keras import cpu
from fcn_keras.cpu import allocator
from fcn_keras.data.classes import ClassTable
from fcn_keras.data.reduced import reduce_photo
from fcn_keras.errors import InputError
from fcn_keras.inference.compiled import bind
from fcn_keras.inference.inputs import Photo, read_photo
from fcn_keras.inference.large import LargePhotos, in_bands, softmax
from fcn_keras.inference.padding import pad, runner
from fcn_keras.inference.precision import Precision, in_precision
from fcn_keras.inference.rows import Array
from fcn_keras.inference.segmentation import Segmentation
from fcn_keras.inference.tta import averaged
from fcn_keras.models.scores import class_map, confidence
from fcn_keras.pretrained import load_model
from fcn_keras.saving import describe, max_side_of, num_classes


class Segmenter:
    """Segments photos of any size, from any number of threads.

    Each photo is padded at the bottom and right up to a multiple of `bucket` pixels and the result
    is cropped back, so that under JAX many photo sizes share few compiles; the latest 32 are kept
    (`fcn_keras.inference.compiled`). Photos of more than a megapixel run in tiles, within a bounded
    amount of memory. Neither changes the result (`fcn_keras.inference.padding`, ``large``).

    A model that was trained on photos of at most `max_side` pixels sees photos that way here too:
    scaled down, and the logits of the result enlarged to the photo's own size.

    Every method takes a path, an http(s) address, a PIL image or an array (uint8, or float with
    values 0..255), or a list of these, for which it returns a list. Photos in a list that have the
    same padded shape run together.

    Args:
        model: A model, the path of its ``.keras`` or compact file, or the name of a trained FCN-8s
            that ships with the package.
        classes: Names and colours of the classes; None means those stored in the model.
        bucket: Heights and widths are padded to multiples of this many pixels; 1 runs every size
            as it is.
        batch_size: How many photos of a list run together.
        max_side: Photos with a longer side of more pixels are scaled down to it for the model; 0
            leaves them as they are. None takes what the model says (`ModelInfo.max_side`).
        flip: Average the predictions of the photo and of its mirror image.
        scales: Average the predictions over these scales of the photo.
        precision: ``"bfloat16"`` is faster on accelerators, and on CPUs where
            `fcn_keras.cpu.multiplies_bfloat16` is true; it copies the model's weights. None leaves
            the model as it was built: in float32, or in bfloat16 if it was trained in it.

    Raises:
        InputError: the file can't be read, or is not a segmentation model, or an argument has a
            value that is not possible.
    """

    def __init__(
        self,
        model: keras.Model | str | PathLike,
        *,
        classes: ClassTable | None = None,
        bucket: int = 128,
        batch_size: int = 1,
        max_side: int | None = None,
        flip: bool = False,
        scales: Sequence[float] = (1.0,),
        precision: Precision | None = None,
    ):
        cpu.prepare()
        if batch_size < 1:
            raise InputError(f"batch_size={batch_size} is not possible: it must be at least 1")
        if not scales or min(scales) <= 0:
            raise InputError(f"scales={tuple(scales)} is not possible: give numbers above 0")
        self.model = load_model(model) if isinstance(model, str | PathLike) else model
        self.num_classes = num_classes(self.model)
        self.classes = describe(self.model).classes if classes is None else classes
        if len(self.classes) != self.num_classes:
            raise InputError(
                f"classes has {len(self.classes)} classes, but model {self.model.name} has "
                f"{self.num_classes}: give one for each of its scores"
            )
        self.max_side = max_side_of(self.model, max_side)
        if precision is not None:
            self.model = in_precision(self.model, precision)
            gc.collect()  # the model before, whose parts refer to each other
        allocator.trim(spare=allocator.FOR_A_PHOTO)  # what reading the model left
        self.bucket, self.batch_size = bucket, batch_size
        self._views: dict[str, Any] = {"flip": flip, "scales": tuple(scales)}
        predict, self._fill = runner(self.model, bucket)
        if self._views != {"flip": False, "scales": (1.0,)}:
            predict = averaged(predict, **self._views)
        self._large = LargePhotos(self.model, bucket=bucket, **self._views)
        self._functions = {
            finish: bind(
                self.model,
                lambda images, finish=finish: finish(predict(images)),
                f"{finish.__name__}, bucket {bucket}, {self._views}",
            )
            for finish in (_classes, _logits, _scored)
        }

    # mypy objects that a str is a Sequence too; the first overload takes it.
    @overload
    def __call__(self, photo: Photo) -> np.ndarray: ...  # type: ignore[overload-overlap]
    @overload
    def __call__(self, photo: Sequence[Photo]) -> list[np.ndarray]: ...
    def __call__(self, photo: Photo | Sequence[Photo]) -> np.ndarray | list[np.ndarray]:
        """The class map uint8 ``(H, W)``."""
        return self._each(photo, lambda images: [maps[0] for maps in self._run(_classes, images)])

    @overload
    def logits(self, photo: Photo) -> np.ndarray: ...  # type: ignore[overload-overlap]
    @overload
    def logits(self, photo: Sequence[Photo]) -> list[np.ndarray]: ...
    def logits(self, photo: Photo | Sequence[Photo]) -> np.ndarray | list[np.ndarray]:
        """The scores, float32 ``(H, W, C)``.

        With `flip` or `scales` they are logarithms of the mean probabilities.
        """
        return self._each(photo, lambda images: [maps[0] for maps in self._run(_logits, images)])

    @overload
    def probabilities(self, photo: Photo) -> np.ndarray: ...  # type: ignore[overload-overlap]
    @overload
    def probabilities(self, photo: Sequence[Photo]) -> list[np.ndarray]: ...
    def probabilities(self, photo: Photo | Sequence[Photo]) -> np.ndarray | list[np.ndarray]:
        """The probabilities of the classes, float32 ``(H, W, C)``."""
        logits = self.logits(photo)
        return list(map(softmax, logits)) if isinstance(logits, list) else softmax(logits)

    @overload
    def segment(self, photo: Photo) -> Segmentation: ...  # type: ignore[overload-overlap]
    @overload
    def segment(self, photo: Sequence[Photo]) -> list[Segmentation]: ...
    def segment(self, photo: Photo | Sequence[Photo]) -> Segmentation | list[Segmentation]:
        """The class map with confidence, names, shares, pictures and polygons."""
        return self._each(photo, self._segment)

    @property
    def compiles(self) -> int:
        """How many shapes have been compiled so far (JAX only)."""
        own = sum(function.compiles() for function in self._functions.values())
        return own + self._large.compiles()

    def __getstate__(self) -> dict[str, Any]:
        names = ("model", "classes", "bucket", "batch_size", "max_side")
        return {**{name: getattr(self, name) for name in names}, **self._views}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__init__(**state)  # type: ignore[misc]

    def _each(self, photo: Any, function: Callable[[list[np.ndarray]], list]) -> Any:
        if isinstance(photo, list | tuple):
            return function([read_photo(one) for one in photo])
        return function([read_photo(photo)])[0]

    def _segment(self, images: list[np.ndarray]) -> list[Segmentation]:
        return [
            Segmentation(image, mask, confidence, self.classes, self.probabilities)
            for image, (mask, confidence) in zip(images, self._run(_scored, images), strict=True)
        ]

    def _run(self, finish: Callable, images: list[np.ndarray]) -> list[tuple[np.ndarray, ...]]:
        """The maps (one or more) that `finish` makes of the logits of each image."""
        found: dict[int, tuple] = {}
        groups = defaultdict(list)
        for index, image in enumerate(images):
            seen = reduce_photo(image, self.max_side)
            if self._large.take(*seen.shape[:2]):
                bands = self._large.bands(seen, _size(image))
                found[index] = _assemble(finish, len(image), bands)
            else:
                padded = pad(seen, self.bucket, self._fill)
                groups[padded.shape, seen is image].append((index, _size(seen), padded))
        for (_, unreduced), group in groups.items():
            function = self._functions[finish if unreduced else _logits]
            for batch in _batches(group, self.batch_size):
                outputs = function(np.stack([padded for *_, padded in batch]))
                outputs = [ops.convert_to_numpy(output) for output in outputs]
                for number, (index, (height, width), _) in enumerate(batch):
                    maps = tuple(output[number, :height, :width].copy() for output in outputs)
                    if not unreduced:
                        bands = in_bands(Array(maps[0]), _size(images[index]))
                        maps = _assemble(finish, len(images[index]), bands)
                    found[index] = maps
        return [found[index] for index in range(len(images))]


def _size(image: np.ndarray) -> tuple[int, int]:
    return image.shape[0], image.shape[1]


def _assemble(
    finish: Callable, height: int, bands: Iterator[tuple[slice, np.ndarray]]
) -> tuple[np.ndarray, ...]:
    """The maps that `finish` makes of `height` rows of logits, which come in bands."""
    maps: list[np.ndarray] = []
    for rows, logits in bands:
        outputs = _FINISH_BAND[finish](logits)
        maps = maps or [np.empty((height, *o.shape[1:]), o.dtype) for o in outputs]
        for whole, part in zip(maps, outputs, strict=True):
            whole[rows] = part
    return tuple(maps)


def _batches(group: list, size: int) -> list[list]:
    """Batches of `size`, and the rest one by one: two compiled shapes, not one per remainder."""
    whole = len(group) - len(group) % size
    batches = [group[start : start + size] for start in range(0, whole, size)]
    return batches + [[one] for one in group[whole:]]


def _logits(logits: Any) -> tuple:
    return (logits,)


def _classes(logits: Any) -> tuple:
    return (class_map(logits),)


def _scored(logits: Any) -> tuple:
    """The classes, and the probabilities of being right."""
    return *_classes(logits), confidence(logits)


_FINISH_BAND = {
    _logits: lambda logits: (logits,),
    _classes: lambda logits: (logits.argmax(axis=-1).astype(np.uint8),),
    _scored: lambda logits: (
        logits.argmax(axis=-1).astype(np.uint8),
        softmax(logits).max(axis=-1),
    ),
}
