"""Scores a model on a data set, every image at its own size."""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass

import keras
import numpy as np
from keras import ops
from PIL import Image

from fcn_keras.data import Source
from fcn_keras.data.classes import VOID
from fcn_keras.errors import InputError
from fcn_keras.evaluation.confusion import ConfusionMatrix, Scores
from fcn_keras.evaluation.measures import cross_entropy, measure, measure_all
from fcn_keras.inference.compiled import bind
from fcn_keras.inference.large import LargePhotos, softmax
from fcn_keras.inference.padding import pad, runner
from fcn_keras.inference.tta import averaged
from fcn_keras.saving import num_classes

READERS = 4
READ_AHEAD = 8

Observer = Callable[[int, np.ndarray, np.ndarray, np.ndarray, np.ndarray], None]
"""Called with a sample's index, image uint8 ``(H, W, 3)``, mask and class map uint8 ``(H, W)``, and
the probabilities of the predicted classes, float32 ``(H, W)``."""


@dataclass(frozen=True)
class _Sample:
    """Image and mask, padded, and their height and width before."""

    index: int
    image: np.ndarray
    mask: np.ndarray
    size: tuple[int, int]


class Evaluator:
    """Runs a model over a data set and fills one confusion matrix.

    An image is padded at the bottom and right to the next multiple of `bucket` pixels and its mask
    with void, so that JAX compiles once for each bucket shape rather than for each image size. The
    padding is not scored, and doesn't change the image's prediction
    (`fcn_keras.inference.padding`). An evaluator can run after every epoch without compiling again.
    Large images run in tiles, with the same result (`fcn_keras.inference.large`).

    Args:
        model: The model; its weights are read at each `run`.
        batch_size: Images of one bucket shape that run together.
        bucket: Heights and widths are padded to multiples of this; 1 runs them as they are.
        squash: Height and width in pixels to resize every image (bilinear) and mask (nearest) to,
            as a widely read tutorial does. Such scores are for comparison only.
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
        augmented = flip or tuple(scales) != (1.0,)

        predict, self._fill = runner(model, bucket)
        if augmented:
            predict = averaged(predict, flip=flip, scales=scales)
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
            predictions = ops.convert_to_numpy(predictions)
            for sample, prediction in zip(samples, predictions, strict=False):
                confusion.update(sample.mask, prediction)
            if observe:
                _show(observe, samples, predictions, ops.convert_to_numpy(confidences[0]))
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
        functions = (self._measure, self._measure_all, self._large)
        return sum(function.compiles() for function in functions)

    def _results(
        self, source: Source, indices: Sequence[int], observe: Observer | None
    ) -> Iterator[tuple]:
        """Yields a batch's samples and results while the next batch is running.

        The results are class maps ``(B, H, W)``, the loss, and with `observe` the confidences.
        """
        run = self._measure_all if observe else self._measure
        running = None
        for samples in self._batches(source, indices):
            if self._large.take(*samples[0].mask.shape):
                yield samples, *self._measure_large(samples[0], source, observe is not None)
                continue
            images, masks = [s.image for s in samples], [s.mask for s in samples]
            # These don't count: all their pixels are void.
            missing = self.batch_size - len(samples)
            images += [np.zeros_like(images[0])] * missing
            masks += [np.full_like(masks[0], VOID)] * missing
            batch = (samples, *run(np.stack(images), np.stack(masks)))
            if running:
                yield running
            running = batch
        if running:
            yield running

    def _measure_large(self, sample: _Sample, source: Source, confident: bool) -> tuple:
        """As `measure_all` or `measure`, for one image in bands."""
        mask, summed = sample.mask, 0.0
        prediction, confidence = np.empty_like(mask), np.empty(mask.shape, np.float32)
        try:
            for rows, logits in self._large.bands(sample.image):
                prediction[rows] = logits.argmax(axis=-1)
                if confident:
                    confidence[rows] = softmax(logits).max(axis=-1)
                summed += cross_entropy(logits, mask[rows])
        except InputError as error:
            raise InputError(f"image {source.ids[sample.index]}: {error}") from error
        return prediction[None], summed, confidence[None]

    def _batches(self, source: Source, indices: Sequence[int]) -> Iterator[list[_Sample]]:
        """Groups samples by their bucket shape; incomplete batches come last.

        A large image is by itself.
        """
        pending: defaultdict[tuple, list[_Sample]] = defaultdict(list)
        for sample in self._samples(source, indices):
            shape = sample.mask.shape
            pending[shape].append(sample)
            if len(pending[shape]) == self.batch_size or self._large.take(*shape):
                yield pending.pop(shape)
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
        height, width = mask.shape
        if not self._large.take(height, width):
            image, mask = pad(image, self.bucket, self._fill), pad(mask, self.bucket, VOID)
        return _Sample(index, image, mask, (height, width))

    def _check_classes(self, source: Source) -> None:
        classes = source.classes
        if len(classes) != self.num_classes:
            raise InputError(
                f"model {self.model.name} has {self.num_classes} classes, but the data set "
                f"{classes.name} has {len(classes)}: evaluate it on the data it was trained for"
            )


def _show(
    observe: Observer, samples: list[_Sample], predictions: np.ndarray, confidences: np.ndarray
) -> None:
    """Passes samples on without their padding."""
    for sample, *maps in zip(samples, predictions, confidences, strict=False):
        height, width = sample.size
        image, *maps = (array[:height, :width] for array in (sample.image, sample.mask, *maps))
        observe(sample.index, image.astype(np.uint8), *maps)


def _sum_over_processes(values: np.ndarray) -> np.ndarray:
    """Adds 64-bit numbers exactly: they travel as two halves each, since JAX's have 32 bits."""
    from jax.experimental import multihost_utils

    halves = multihost_utils.process_allgather(values.view(np.uint32))
    return np.ascontiguousarray(halves).view(values.dtype).sum(axis=0)
