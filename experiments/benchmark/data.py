"""Training batches from files: beside PyTorch's DataLoader, step by step, and feeding a trainer."""

from __future__ import annotations

import contextlib
import itertools
import statistics
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, replace
from typing import Any, ClassVar

import jax
import numpy as np

from experiments.benchmark import ours
from experiments.benchmark.case import Case, Networks, Options, Tell, installed
from experiments.benchmark.report import Report
from experiments.benchmark.workers import apart
from fcn_keras.commands import cli
from fcn_keras.data import Augmentation, Source, open_dataset, train_batches


@dataclass(frozen=True, kw_only=True)
class Files(Options, cli.DataOptions):
    """Options of the verbs that read a data set."""

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
    """Training batches from files: milliseconds of each step, and images a second of each loader.

    Each turn of a loader is a process of its own that takes batches and does nothing with them.
    """

    size: int = 480  # Height and width of a crop, pixels.
    batch: int = 16  # Crops at a time.
    workers: tuple[int, ...] = (0, 1, 2)  # Numbers of worker processes to try.
    samples: int = 200  # Images to time the single steps on.

    def run(self, tell: Tell) -> Iterator[Report]:
        """Yields the steps, then the loaders."""
        tell("timing the steps")
        steps = stages(self)
        steps["sum"] = sum(steps.values())
        yield Report("one image, on one core", [{"step": k, "ms": v} for k, v in steps.items()])

        loaders = ("ours", "torch") if installed("torch") else ("ours",)
        rates = {(loader, count): [] for count in self.workers for loader in loaders}
        for turn in range(self.repeats):
            for (loader, count), turns in rates.items():
                tell(f"turn {turn + 1}/{self.repeats}: {loader} with {count} workers")
                turns.append(apart(rate, self, loader, count))
        rows = [
            {"loader": loader, "workers": count, "images/s": statistics.median(turns)}
            | {"turns": turns}
            for (loader, count), turns in rates.items()
        ]
        yield Report(f"{self.dataset}, batches of {self.batch} at {self.size} x {self.size}", rows)


@dataclass(frozen=True, kw_only=True)
class Fed(Networks, Files):
    """Training steps fed from files, beside the same steps on a batch that stays on the device."""

    training: ClassVar[bool] = True
    workers: int = 0  # Processes that read and augment images; 0 uses threads of this one.

    def report(self, case: Case, tell: Tell) -> Report:
        """Images a second of both."""
        case = replace(case, num_classes=len(self.open().classes))
        tell("compiling")
        step, (state, resident), *_ = ours.program(case)
        rates: dict[str, list[float]] = {"resident": [], "fed": []}
        with contextlib.closing(self.stream(case.size, case.batch, self.workers)) as stream:
            fed = ({name: jax.device_put(batch[name]) for name in resident} for batch in stream)
            sources = {"resident": itertools.repeat(resident), "fed": fed}
            for turn in range(self.repeats):
                for name, source in sources.items():
                    tell(f"turn {turn + 1}/{self.repeats}: {name}")
                    state, count, elapsed = _steps(step, state, source, self.seconds)
                    rates[name].append(count * case.batch / elapsed)
        medians = {name: statistics.median(turns) for name, turns in rates.items()}
        rows = [
            {
                "batches": name,
                "images/s": medians[name],
                "% of resident": 100 * medians[name] / medians["resident"],
                "turns": turns,
            }
            for name, turns in rates.items()
        ]
        title = f"{case}; fed from {self.dataset} with {self.workers} workers"
        return Report(title, rows, {"case": asdict(case), "workers": self.workers})


def _steps(step, state, source: Iterator[dict], seconds: float) -> tuple:
    """Steps for that long; each is waited for while the next one runs, as in training."""
    state, metrics = step(state, next(source))
    jax.block_until_ready(metrics)
    count, start = 0, time.perf_counter()
    while time.perf_counter() - start < seconds:
        before = metrics
        state, metrics = step(state, next(source))
        jax.block_until_ready(before)
        count += 1
    jax.block_until_ready(metrics)
    return state, count, time.perf_counter() - start


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
    """Milliseconds per image that each step of making a batch takes, one after the other."""
    source, augmentation = options.open(), Augmentation(crop_size=options.size)
    augmentation(*source[0], seed=0)  # Imports albumentations.
    indices = [index % len(source) for index in range(options.samples)]
    seconds = {}
    seconds["decode image"], images = _timed(lambda: [source.image(i) for i in indices])
    seconds["decode mask"], masks = _timed(lambda: [source.mask(i) for i in indices])
    samples = list(zip(images, masks, range(options.samples), strict=True))
    seconds["augment"], crops = _timed(lambda: [augmentation(*sample) for sample in samples])
    batches = [crops[i : i + options.batch] for i in range(0, len(crops), options.batch)]
    seconds["stack"], _ = _timed(
        lambda: [[np.stack(arrays) for arrays in zip(*batch, strict=True)] for batch in batches]
    )
    return {step: 1000 * value / options.samples for step, value in seconds.items()}


def _timed(function: Callable[[], Any]) -> tuple[float, Any]:
    start = time.perf_counter()
    result = function()
    return time.perf_counter() - start, result
