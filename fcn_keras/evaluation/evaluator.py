"""Scores a model on a data set, every image at its own size."""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import keras
import numpy as np
from keras import ops
from PIL import Image

from fcn_keras.data import Source
from fcn_keras.data.classes import VOID
from fcn_keras.errors import InputError
from fcn_keras.evaluation.confusion import ConfusionMatrix, Scores
from fcn_keras.evaluation.losses import pixel_losses
from fcn_keras.inference.compiled import bind
from fcn_keras.inference.large import LargePhotos
from fcn_keras.inference.padding import pad, runner
from fcn_keras.inference.tta import averaged
from fcn_keras.saving import num_classes

READERS = 4
READ_AHEAD = 8


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
        self._measure = bind(model, lambda images, masks: _measure(predict(images), masks))
        self._large = LargePhotos(model, bucket=bucket, flip=flip, scales=scales)

    def run(
        self,
        source: Source,
        progress: Callable[[int, int], None] | None = None,
        shard: tuple[int, int] = (0, 1),
    ) -> Scores:
        """Scores the model on all of `source`.

        Args:
            source: The data set.
            progress: Called after each batch with the images done and their total.
            shard: Index of this process and number of processes of `jax.distributed`. Each runs
                its share of the images, and all get the scores of the whole set.

        Raises:
            InputError: the data set has another number of classes than the model, or a sample
                can't be read.
        """
        self._check_classes(source)
        confusion, loss, done = ConfusionMatrix(self.num_classes), 0.0, 0
        indices = range(shard[0], len(source), shard[1])
        for size, masks, predictions, summed in self._results(source, indices):
            confusion.update(masks, ops.convert_to_numpy(predictions))
            loss += float(summed)
            done += size
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
        return self._measure.compiles() + self._large.compiles()

    def _results(self, source: Source, indices: Sequence[int]) -> Iterator[tuple]:
        """Yields images, masks, class maps and loss of a batch while the next one is running."""
        running = None
        for images, masks, name in self._batches(source, indices):
            size = len(images)
            if self._large.take(*masks[0].shape):
                yield 1, masks[0], *self._measure_large(images[0], masks[0], name)
                continue
            missing = self.batch_size - size
            if missing:
                # These don't count: all their pixels are void.
                images += [np.zeros_like(images[0])] * missing
                masks += [np.full_like(masks[0], VOID)] * missing
            truth = np.stack(masks)
            batch = (size, truth, *self._measure(np.stack(images), truth))
            if running:
                yield running
            running = batch
        if running:
            yield running

    def _measure_large(self, image: np.ndarray, mask: np.ndarray, name: str) -> tuple:
        """As `_measure`, for one image ``(H, W, 3)`` in bands."""
        prediction, summed = np.empty_like(mask), 0.0
        try:
            for rows, logits in self._large.bands(image):
                prediction[rows] = logits.argmax(axis=-1)
                summed += _cross_entropy(logits, mask[rows])
        except InputError as error:
            raise InputError(f"image {name}: {error}") from error
        return prediction, summed

    def _batches(self, source: Source, indices: Sequence[int]) -> Iterator[tuple]:
        """Groups samples by their bucket shape; incomplete batches come last.

        A large image is by itself. With each group comes the name of its last image.
        """
        pending: defaultdict[tuple, tuple[list, list]] = defaultdict(lambda: ([], []))
        for image, mask, name in self._samples(source, indices):
            images, masks = pending[mask.shape]
            images.append(image)
            masks.append(mask)
            if len(images) == self.batch_size or self._large.take(*mask.shape):
                yield *pending.pop(mask.shape), name
        for group in pending.values():
            yield *group, name

    def _samples(self, source: Source, indices: Sequence[int]) -> Iterator[tuple]:
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

    def _read(self, source: Source, index: int) -> tuple[np.ndarray, np.ndarray, str]:
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
        if not self._large.take(*mask.shape):
            image, mask = pad(image, self.bucket, self._fill), pad(mask, self.bucket, VOID)
        return image, mask, source.ids[index]

    def _check_classes(self, source: Source) -> None:
        classes = source.classes
        if len(classes) != self.num_classes:
            raise InputError(
                f"model {self.model.name} has {self.num_classes} classes, but the data set "
                f"{classes.name} has {len(classes)}: evaluate it on the data it was trained for"
            )


def _measure(logits: Any, masks: Any) -> tuple:
    """Class maps uint8 ``(B, H, W)`` and the cross-entropy summed over non-void pixels."""
    losses, _, labelled = pixel_losses(logits, ops.convert_to_tensor(masks))
    summed = ops.sum(ops.where(labelled, losses, 0.0))
    return ops.cast(ops.argmax(logits, axis=-1), "uint8"), summed


def _cross_entropy(logits: np.ndarray, mask: np.ndarray) -> float:
    """The second result of `_measure`, by NumPy: of rows ``(h, W, C)`` and their labels."""
    labelled = mask != VOID
    logits, labels = logits[labelled], mask[labelled]
    largest = logits.max(axis=-1, initial=-np.inf)
    powers = np.exp(logits - largest[:, None]).sum(axis=-1)
    own = np.take_along_axis(logits, labels[:, None].astype(int), axis=-1)[:, 0]
    return float((largest + np.log(powers) - own).sum(dtype=np.float64))


def _sum_over_processes(values: np.ndarray) -> np.ndarray:
    """Adds 64-bit numbers exactly: they travel as two halves each, since JAX's have 32 bits."""
    from jax.experimental import multihost_utils

    halves = multihost_utils.process_allgather(values.view(np.uint32))
    return np.ascontiguousarray(halves).view(values.dtype).sum(axis=0)
