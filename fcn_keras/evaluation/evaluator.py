"""Scores a model on a data set, every image at its own size."""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
from keras import ops
from PIL import Image

from fcn_keras.data import Source
from fcn_keras.data.classes import VOID
from fcn_keras.data.reduced import reduce_photo
from fcn_keras.errors import InputError
from fcn_keras.evaluation.confusion import ConfusionMatrix, Scores
from fcn_keras.evaluation.measures import cross_entropy, measure, measure_all
from fcn_keras.inference.compiled import bind
from fcn_keras.inference.large import LargePhotos, in_bands, softmax
from fcn_keras.inference.padding import pad, runner
from fcn_keras.inference.rows import Array
from fcn_keras.inference.tta import averaged
from fcn_keras.saving import max_side_of, num_classes

READERS = 4
READ_AHEAD = 8

Observer = Callable[[int, np.ndarray, np.ndarray, np.ndarray, np.ndarray], None]
"""Called with a sample's index, image uint8 ``(H, W, 3)``, mask and class map uint8 ``(H, W)``, and
the probabilities of the predicted classes, float32 ``(H, W)``."""


@dataclass(frozen=True)
class _Sample:
    """A photo and its mask, and the photo as the model sees it, scaled down and padded.

    Where it wasn't scaled down, the mask is padded alike.
    """

    index: int
    photo: np.ndarray
    mask: np.ndarray
    image: np.ndarray
    seen: tuple[int, int]
    """Height and width of `image` without the padding."""

    @property
    def size(self) -> tuple[int, int]:
        """Height and width of the photo."""
        return self.photo.shape[0], self.photo.shape[1]

    @property
    def reduced(self) -> bool:
        """Whether the model sees it smaller than it is."""
        return self.seen != self.size


class Evaluator:
    """Runs a model over a data set and fills one confusion matrix.

    An image is padded at the bottom and right to the next multiple of `bucket` pixels and its mask
    with void, so that JAX compiles once for each bucket shape rather than for each image size. The
    padding is not scored, and doesn't change the image's prediction
    (`fcn_keras.inference.padding`). An evaluator can run after every epoch without compiling again.
    Large images run in tiles, with the same result (`fcn_keras.inference.large`). Images that are
    scaled down for the model are scored at their own size all the same: the logits are enlarged.

    Args:
        model: The model; its weights are read at each `run`.
        batch_size: Images of one bucket shape that run together.
        bucket: Heights and widths are padded to multiples of this; 1 runs them as they are.
        squash: Height and width in pixels to resize every image (bilinear) and mask (nearest) to,
            as a widely read tutorial does. Such scores are for comparison only.
        max_side: Images with a longer side of more pixels are scaled down to it for the model; 0
            leaves them as they are. None takes what the model says
            (`fcn_keras.ModelInfo.max_side`), or 0 with `squash`.
        flip: Average the predictions of the image and of its mirror image.
        scales: Average the predictions over these image scales.

    Raises:
        InputError: an option is out of range.
    """

    def __init__(
        self,
        model: keras.Model,
        *,
        batch_size: int = 1,
        bucket: int = 128,
        squash: int | None = None,
        max_side: int | None = None,
        flip: bool = False,
        scales: Sequence[float] = (1.0,),
    ):
        for name, value in (("batch_size", batch_size), ("squash", squash)):
            if value is not None and value < 1:
                raise InputError(f"{name}={value} is not possible: it must be at least 1")
        if not scales or min(scales) <= 0:
            raise InputError(f"scales={tuple(scales)} is not possible: give numbers above 0")
        self.model = model
        self.num_classes = num_classes(model)
        self.batch_size = batch_size
        self.bucket = bucket
        self.squash = squash
        self.max_side = max_side_of(model, 0 if squash and max_side is None else max_side)
        augmented = flip or tuple(scales) != (1.0,)

        predict, self._fill = runner(model, bucket)
        if augmented:
            predict = averaged(predict, flip=flip, scales=scales)
        self._predict = bind(model, predict)
        self._measure = bind(model, lambda images, masks: measure(predict(images), masks))
        self._measure_all = bind(model, lambda images, masks: measure_all(predict(images), masks))
        self._large = LargePhotos(model, bucket=bucket, flip=flip, scales=scales)

    def run(
        self,
        source: Source,
        progress: Callable[[int, int], None] | None = None,
        shard: tuple[int, int] = (0, 1),
        observe: Observer | None = None,
    ) -> Scores:
        """Scores the model on all of `source`.

        Args:
            source: The data set.
            progress: Called after each batch with the images done and their total.
            shard: Index of this process and number of processes of `jax.distributed`. Each runs
                its share of the images, and all get the scores of the whole set.
            observe: Called with every sample and what the model makes of it.

        Raises:
            InputError: the data set has another number of classes than the model, or a sample
                can't be read.
        """
        self._check_classes(source)
        confusion, loss, done = ConfusionMatrix(self.num_classes), 0.0, 0
        indices = range(shard[0], len(source), shard[1])
        for samples, predictions, summed, *confidences in self._results(source, indices, observe):
            for sample, prediction in zip(samples, predictions, strict=False):
                confusion.update(sample.mask, prediction)
            if observe:
                _show(observe, samples, predictions, confidences[0])
            loss += float(summed)
            done += len(samples)
            if progress:
                progress(done, len(indices))
        if shard[1] > 1:
            confusion.counts = _sum_over_processes(confusion.counts)
            loss = float(_sum_over_processes(np.array([loss]))[0])
        pixels = int(confusion.counts.sum())
        return confusion.scores(loss=loss / pixels if pixels else float("nan"))

    @property
    def compiles(self) -> int:
        """How many shapes have been compiled so far (JAX only)."""
        functions = (self._predict, self._measure, self._measure_all, self._large)
        return sum(function.compiles() for function in functions)

    def _results(
        self, source: Source, indices: Sequence[int], observe: Observer | None
    ) -> Iterator[tuple]:
        """Yields a batch's samples and results while the next batch is running.

        The results are class maps ``(H, W)``, the loss, and with `observe` the confidences.
        """
        confident = observe is not None
        running: tuple | None = None
        for samples in self._batches(source, indices):
            if self._large.take(*samples[0].seen):
                yield samples, *self._measure_large(samples[0], source, confident)
                continue
            images, masks = [s.image for s in samples], [s.mask for s in samples]
            missing = self.batch_size - len(samples)
            images += [np.zeros_like(images[0])] * missing
            if samples[0].reduced:
                batch = (samples, confident, self._predict(np.stack(images)))
            else:
                # The missing don't count: all their pixels are void.
                masks += [np.full_like(masks[0], VOID)] * missing
                run = self._measure_all if confident else self._measure
                batch = (samples, confident, *run(np.stack(images), np.stack(masks)))
            if running:
                yield self._finish(*running)
            running = batch
        if running:
            yield self._finish(*running)

    def _finish(self, samples: list[_Sample], confident: bool, *outputs: Any) -> tuple:
        """The results of a batch, of which the model returned `outputs`."""
        outputs = tuple(ops.convert_to_numpy(output) for output in outputs)
        if not samples[0].reduced:
            return samples, *outputs
        measured = []
        for sample, logits in zip(samples, outputs[0], strict=False):
            height, width = sample.seen
            bands = in_bands(Array(logits[:height, :width]), sample.size)
            measured.append(_measure_bands(sample.mask, bands, confident))
        predictions, losses, confidences = zip(*measured, strict=True)
        return samples, predictions, sum(losses), confidences

    def _measure_large(self, sample: _Sample, source: Source, confident: bool) -> tuple:
        bands = self._large.bands(sample.image, sample.size)
        try:
            prediction, loss, confidence = _measure_bands(sample.mask, bands, confident)
        except InputError as error:
            raise InputError(f"image {source.ids[sample.index]}: {error}") from error
        return [prediction], loss, [confidence]

    def _batches(self, source: Source, indices: Sequence[int]) -> Iterator[list[_Sample]]:
        """Groups samples by their bucket shape; incomplete batches come last.

        A large image is by itself.
        """
        pending: defaultdict[tuple, list[_Sample]] = defaultdict(list)
        for sample in self._samples(source, indices):
            kind = sample.image.shape, sample.reduced
            pending[kind].append(sample)
            if len(pending[kind]) == self.batch_size or self._large.take(*sample.seen):
                yield pending.pop(kind)
        yield from pending.values()

    def _samples(self, source: Source, indices: Sequence[int]) -> Iterator[_Sample]:
        """Samples in order, read ahead by threads while the model runs."""
        with ThreadPoolExecutor(READERS) as pool:
            waiting: deque[Future] = deque()
            try:
                for index in indices:
                    waiting.append(pool.submit(self._read, source, index))
                    if len(waiting) > READ_AHEAD:
                        yield waiting.popleft().result()
                while waiting:
                    yield waiting.popleft().result()
            finally:
                for future in waiting:
                    future.cancel()

    def _read(self, source: Source, index: int) -> _Sample:
        image, mask = source[index]
        largest = mask[mask != VOID].max(initial=0)
        if largest >= self.num_classes:
            raise InputError(
                f"mask {source.ids[index]} holds label {largest}, but the data set has "
                f"{self.num_classes} classes (0..{self.num_classes - 1}, {VOID} = void)"
            )
        if self.squash:
            size = (self.squash, self.squash)
            image = np.asarray(Image.fromarray(image).resize(size, Image.Resampling.BILINEAR))
            mask = np.asarray(Image.fromarray(mask).resize(size, Image.Resampling.NEAREST))
        photo, image = image, reduce_photo(image, self.max_side)
        seen = image.shape[0], image.shape[1]
        if not self._large.take(*seen):
            image = pad(image, self.bucket, self._fill)
            if seen == mask.shape:
                mask = pad(mask, self.bucket, VOID)
        return _Sample(index, photo, mask, image, seen)

    def _check_classes(self, source: Source) -> None:
        classes = source.classes
        if len(classes) != self.num_classes:
            raise InputError(
                f"model {self.model.name} has {self.num_classes} classes, but the data set "
                f"{classes.name} has {len(classes)}: evaluate it on the data it was trained for"
            )


def _measure_bands(
    mask: np.ndarray, bands: Iterator[tuple[slice, np.ndarray]], confident: bool
) -> tuple[np.ndarray, float, np.ndarray]:
    """As `measure_all`, or without the confidence `measure`, for one image in bands."""
    prediction, confidence = np.empty_like(mask), np.empty(mask.shape, np.float32)
    summed = 0.0
    for rows, logits in bands:
        prediction[rows] = logits.argmax(axis=-1)
        if confident:
            confidence[rows] = softmax(logits).max(axis=-1)
        summed += cross_entropy(logits, mask[rows])
    return prediction, summed, confidence


def _show(observe: Observer, samples: list[_Sample], *maps: Sequence[np.ndarray]) -> None:
    """Passes samples on without their padding."""
    for sample, *found in zip(samples, *maps, strict=False):
        height, width = sample.size
        cropped = (array[:height, :width] for array in (sample.mask, *found))
        observe(sample.index, sample.photo, *cropped)


def _sum_over_processes(values: np.ndarray) -> np.ndarray:
    """Adds 64-bit numbers exactly: they travel as two halves each, since JAX's have 32 bits."""
    from jax.experimental import multihost_utils

    halves = multihost_utils.process_allgather(values.view(np.uint32))
    return np.ascontiguousarray(halves).view(values.dtype).sum(axis=0)
