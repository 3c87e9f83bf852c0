"""How fast training batches can be made: ours beside PyTorch's DataLoader, and step by step."""

from __future__ import annotations

import contextlib
import itertools
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from experiments.benchmark.workers import apart
from fcn_keras.data import Augmentation, open_dataset, train_batches

TRANSFORMS = {
    "RandomScale": "scale",
    "PadIfNeeded": "pad",
    "RandomCrop": "crop",
    "HorizontalFlip": "flip",
}


@dataclass(frozen=True, kw_only=True)
class Feed:
    """What is read and how: whole batches of augmented crops, from one process on."""

    dataset: str
    data_dir: Path | None
    split: str
    batch: int
    size: int
    """Height and width of a crop, pixels."""
    workers: int = 0
    loader: str = "ours"
    """"ours" or "torch"."""


def compare(
    feed: Feed,
    loaders: Sequence[str],
    workers: Sequence[int],
    repeats: int,
    seconds: float,
    progress: Callable[[str], None],
) -> list[dict]:
    """Images per second of every loader with each number of workers, in turns.

    Each turn is a process of its own that takes batches for `seconds` and does nothing with them.
    """
    feeds = [replace(feed, loader=loader, workers=count) for count in workers for loader in loaders]
    rates: dict[Feed, list[float]] = {feed: [] for feed in feeds}
    for turn in range(repeats):
        for each in feeds:
            progress(f"turn {turn + 1}/{repeats}: {each.loader} with {each.workers} workers")
            rates[each].append(apart(rate, each, seconds))
    return [
        {
            "loader": each.loader,
            "workers": each.workers,
            "images_per_second": statistics.median(rates[each]),
            "turns": rates[each],
        }
        for each in feeds
    ]


def rate(feed: Feed, seconds: float) -> float:
    """Images per second, once whatever was made before the clock started is used up."""
    with contextlib.closing(batches(feed)) as stream:
        buffered = 8 + 4 * feed.workers
        for _ in itertools.islice(stream, buffered):
            pass
        count, start = 0, time.perf_counter()
        while (elapsed := time.perf_counter() - start) < seconds:
            next(stream)
            count += 1
    return count * feed.batch / elapsed


def batches(feed: Feed) -> Iterator:
    """Endless batches of `feed`."""
    source = open_dataset(feed.dataset, feed.data_dir, feed.split)
    augmentation = Augmentation(crop_size=feed.size)
    if feed.loader == "ours":
        return train_batches(
            source,
            batch_size=feed.batch,
            augmentation=augmentation,
            seed=0,
            workers=feed.workers,
        )
    return _torch_batches(_Augmented(source, augmentation), feed)


@dataclass(frozen=True)
class _Augmented:
    """A map-style data set for PyTorch's DataLoader, of the same source and augmentation."""

    source: object
    augmentation: Augmentation

    def __len__(self) -> int:
        return len(self.source)

    def __getitem__(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        return self.augmentation(*self.source[index], seed=index)


def _torch_batches(samples: _Augmented, feed: Feed) -> Iterator:
    from torch.utils.data import DataLoader

    loader = DataLoader(
        samples,
        batch_size=feed.batch,
        shuffle=True,
        drop_last=True,
        num_workers=feed.workers,
        persistent_workers=feed.workers > 0,
        # Forked workers abort when they end, after threads have run in this process.
        multiprocessing_context="forkserver" if feed.workers else None,
    )
    while True:
        yield from loader


def stages(feed: Feed, samples: int) -> dict[str, float]:
    """Milliseconds an image that each step of making a batch takes, one after the other.

    "other" is what the augmentation does around its transforms: checks, random state, copies.
    """
    source = open_dataset(feed.dataset, feed.data_dir, feed.split)
    augmentation = Augmentation(crop_size=feed.size)
    augmentation(*source[0], seed=0)  # imports albumentations
    indices = [index % len(source) for index in range(samples)]
    spent = {}
    spent["decode image"], images = _timed(lambda: [source.image(i) for i in indices])
    spent["decode mask"], masks = _timed(lambda: [source.mask(i) for i in indices])
    with _timed_transforms() as transforms:
        pairs = list(zip(images, masks, range(samples), strict=True))
        total, crops = _timed(lambda: [augmentation(*pair) for pair in pairs])
    spent |= transforms | {"other": total - sum(transforms.values())}
    batches = [crops[i : i + feed.batch] for i in range(0, samples, feed.batch)]
    spent["stack"], _ = _timed(
        lambda: [[np.stack(arrays) for arrays in zip(*batch, strict=True)] for batch in batches]
    )
    return {name: 1000 * seconds / samples for name, seconds in spent.items()}


def _timed(function: Callable) -> tuple[float, object]:
    start = time.perf_counter()
    result = function()
    return time.perf_counter() - start, result


@contextlib.contextmanager
def _timed_transforms() -> Iterator[dict[str, float]]:
    """Adds up the seconds spent inside each of albumentations' transforms."""
    import albumentations as A

    spent = dict.fromkeys(TRANSFORMS.values(), 0.0)
    classes = {getattr(A, name): step for name, step in TRANSFORMS.items()}

    def timing(original, step):
        def call(*args, **kwargs):
            seconds, result = _timed(lambda: original(*args, **kwargs))
            spent[step] += seconds
            return result

        return call

    originals = {cls: cls.__call__ for cls in classes}
    for cls, step in classes.items():
        cls.__call__ = timing(originals[cls], step)
    try:
        yield spent
    finally:
        for cls, original in originals.items():
            cls.__call__ = original
