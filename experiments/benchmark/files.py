"""Training batches from files: ours beside PyTorch's DataLoader, and step by step."""

from __future__ import annotations

import contextlib
import itertools
import math
import statistics
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any
from unittest import mock

import numpy as np
from rich.console import Group

from experiments.benchmark.case import Options, Tell, installed
from experiments.benchmark.tables import table
from experiments.benchmark.workers import apart
from fcn_keras.commands import cli
from fcn_keras.data import Augmentation, Source, open_dataset, train_batches


@dataclass(frozen=True, kw_only=True)
class Files(Options, cli.DataOptions):
    """What a verb that reads a data set can be told."""

    split: str = "train"  # Split to read.
    seconds: float = 10.0  # Length of a turn.

    def open(self) -> Source:
        """The split."""
        return open_dataset(self.dataset, self.data_dir, self.split)

    def stream(self, size: int, batch: int, workers: int, loader: str = "ours") -> Iterator:
        """Endless batches of crops; `loader` is "ours" or "torch"."""
        source, augmentation = self.open(), Augmentation(crop_size=size)
        if loader == "torch":
            return _torch_batches(_Augmented(source, augmentation), batch, workers)
        return train_batches(
            source, batch_size=batch, augmentation=augmentation, seed=0, workers=workers
        )


@dataclass(frozen=True, kw_only=True)
class Data(Files):
    """Training batches a second, from files to augmented arrays."""

    size: int = 480  # Height and width of a crop, pixels.
    batch: int = 16  # Crops at a time.
    workers: tuple[int, ...] = (0, 1, 2)  # Numbers of worker processes to try.
    samples: int = 200  # Images to time the single steps on.
    demand: float = 600.0
    """Images a second that a trainer would take, for the count of cores it needs."""

    def run(self, tell: Tell) -> Iterator[tuple[Group, dict]]:
        """Yields the tables and figures, once."""
        tell("timing the steps")
        steps = stages(self)
        total = sum(steps.values())
        ms = [{"step": name, "ms": value} for name, value in {**steps, "sum": total}.items()]
        rates = self._rates(tell)
        shown = [{name: value for name, value in row.items() if name != "turns"} for row in rates]
        tables = Group(
            table("one image", ms),
            table(f"{self.dataset}, batches of {self.batch} at {self.size} x {self.size}", shown),
            f"One core makes {1000 / total:.0f} images/s; {self.demand:.0f} images/s take "
            f"{math.ceil(self.demand * total / 1000)} cores.",
        )
        yield tables, {"milliseconds": steps, "rates": rates}

    def _rates(self, tell: Tell) -> list[dict]:
        """Images a second of every loader with each number of workers, in turns.

        Each turn is a process of its own that takes batches and does nothing with them.
        """
        loaders = ("ours", "torch") if installed("torch") else ("ours",)
        rates = {(loader, count): [] for count in self.workers for loader in loaders}
        for turn in range(self.repeats):
            for (loader, count), turns in rates.items():
                tell(f"turn {turn + 1}/{self.repeats}: {loader} with {count} workers")
                turns.append(apart(rate, self, loader, count))
        return [
            {
                "loader": loader,
                "workers": count,
                "images_per_second": statistics.median(turns),
                "turns": turns,
            }
            for (loader, count), turns in rates.items()
        ]


def rate(options: Data, loader: str, workers: int) -> float:
    """Images a second, once whatever was made before the clock started is used up."""
    stream = options.stream(options.size, options.batch, workers, loader)
    with contextlib.closing(stream):
        for _ in itertools.islice(stream, 8 + 4 * workers):
            pass
        count, start = 0, time.perf_counter()
        while (elapsed := time.perf_counter() - start) < options.seconds:
            next(stream)
            count += 1
    return count * options.batch / elapsed


@dataclass(frozen=True)
class _Augmented:
    """A map-style data set for PyTorch's DataLoader, of the same source and augmentation."""

    source: Source
    augmentation: Augmentation

    def __len__(self) -> int:
        return len(self.source)

    def __getitem__(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        return self.augmentation(*self.source[index], seed=index)


def _torch_batches(samples: _Augmented, batch: int, workers: int) -> Iterator:
    from torch.utils.data import DataLoader

    loader = DataLoader(
        samples,
        batch_size=batch,
        shuffle=True,
        drop_last=True,
        num_workers=workers,
        persistent_workers=workers > 0,
        # Forked workers abort when they end, after threads have run in this process.
        multiprocessing_context="forkserver" if workers else None,
    )
    while True:
        yield from loader


def stages(options: Data) -> dict[str, float]:
    """Milliseconds an image that each step of making a batch takes, one after the other.

    The augmentation's steps have albumentations' names; "other" is what it does around them:
    checks, random state, copies.
    """
    source, augmentation = options.open(), Augmentation(crop_size=options.size)
    augmentation(*source[0], seed=0)  # imports albumentations
    count = options.samples
    indices = [index % len(source) for index in range(count)]
    spent = {}
    spent["decode image"], images = _timed(lambda: [source.image(i) for i in indices])
    spent["decode mask"], masks = _timed(lambda: [source.mask(i) for i in indices])
    with _timed_transforms() as transforms:
        pairs = list(zip(images, masks, range(count), strict=True))
        total, crops = _timed(lambda: [augmentation(*pair) for pair in pairs])
    spent |= transforms | {"other": total - transforms.total()}
    batches = [crops[i : i + options.batch] for i in range(0, count, options.batch)]
    spent["stack"], _ = _timed(
        lambda: [[np.stack(arrays) for arrays in zip(*batch, strict=True)] for batch in batches]
    )
    return {name: 1000 * seconds / count for name, seconds in spent.items()}


def _timed(function: Callable[[], Any]) -> tuple[float, Any]:
    start = time.perf_counter()
    result = function()
    return time.perf_counter() - start, result


@contextlib.contextmanager
def _timed_transforms() -> Iterator[Counter[str]]:
    """Adds up the seconds spent in each of albumentations' transforms."""
    from albumentations import BasicTransform

    spent: Counter[str] = Counter()
    original = BasicTransform.__call__

    def call(self, *args, **kwargs):
        seconds, result = _timed(lambda: original(self, *args, **kwargs))
        spent[type(self).__name__] += seconds
        return result

    with mock.patch.object(BasicTransform, "__call__", call):
        yield spent
