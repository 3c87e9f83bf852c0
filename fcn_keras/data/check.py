"""Checks a whole data set before training on it."""

import os
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, field

import numpy as np

from fcn_keras.data.advice import warnings
from fcn_keras.data.classes import VOID, ClassTable
from fcn_keras.data.images import conversions, exif_orientation
from fcn_keras.data.source import FileSource
from fcn_keras.data.traits import Traits, traits
from fcn_keras.errors import InputError

FEW = 5  # missing files, which have a line each


@dataclass
class SplitReport:
    """What a split holds: images and pixels of each class, and void pixels."""

    samples: int
    images: np.ndarray  # (C,) int64
    pixels: np.ndarray  # (C,) int64
    void_pixels: int = 0
    conversions: Counter = field(default_factory=Counter)  # what reading changed -> images


@dataclass(frozen=True)
class Problem:
    """What is wrong with a sample: one line that names the file and the fix."""

    split: str
    sample: str
    message: str


@dataclass
class DataReport:
    """The outcome of `check`: the data can be trained on if `problems` is empty.

    `warnings` are about the whole set, a line each: what is allowed but rarely intended.
    """

    classes: ClassTable
    splits: dict[str, SplitReport]
    problems: list[Problem]
    warnings: list[str] = field(default_factory=list)

    def to_json(self) -> dict:
        """The report in plain lists and numbers."""
        splits = {
            name: {
                "samples": split.samples,
                "images": dict(zip(self.classes.names, split.images.tolist(), strict=True)),
                "pixels": dict(zip(self.classes.names, split.pixels.tolist(), strict=True)),
                "void_pixels": split.void_pixels,
                "conversions": dict(split.conversions),
            }
            for name, split in self.splits.items()
        }
        problems = [vars(problem) for problem in self.problems]
        return {
            "classes": self.classes.name,
            "splits": splits,
            "problems": problems,
            "warnings": self.warnings,
        }


def check(
    sources: dict[str, FileSource],
    *,
    workers: int | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> DataReport:
    """Reads every file of the given splits and counts the labels.

    Problems are files that are missing or can't be read, whatever `read_image` and `read_mask`
    refuse, sizes that differ, masks without a labelled pixel, and ids that occur twice, in one
    split or in several (so don't give splits that overlap on purpose).

    Args:
        sources: The splits by name, all with one class table.
        workers: Threads; None uses one per core.
        progress: Called with the samples done and their total.

    Raises:
        InputError: no split is given.
    """
    if not sources:
        raise InputError("no split to check; name at least one")
    classes = next(iter(sources.values())).classes
    report = DataReport(classes, {}, [*_repeated_ids(sources)])
    seen: dict[str, dict[str, Traits]] = {name: {} for name in sources}
    total, done = sum(map(len, sources.values())), 0
    with ExitStack() as stack:
        pool = ThreadPoolExecutor(workers or os.cpu_count())
        stack.callback(pool.shutdown, cancel_futures=True)  # Ctrl-C doesn't wait for the rest
        for name, source in sources.items():
            zeros = np.zeros((2, len(classes)), np.int64)
            split = report.splits[name] = SplitReport(len(source), *zeros)
            complete, absent = _complete(name, source)
            report.problems += absent
            done += len(source) - len(complete)
            findings = pool.map(lambda i, source=source: _inspect(source, i), complete)
            for index, (messages, counts, changes, own) in zip(complete, findings, strict=True):
                sample = source.ids[index]
                if own is not None:
                    seen[name][sample] = own
                report.problems += [Problem(name, sample, message) for message in messages]
                split.images += counts[: len(classes)] > 0
                split.pixels += counts[: len(classes)]
                split.void_pixels += int(counts[VOID])
                split.conversions.update(changes)
                done += 1
                if progress:
                    progress(done, total)
    pixels = np.sum([split.pixels for split in report.splits.values()], axis=0)
    void_pixels = sum(split.void_pixels for split in report.splits.values())
    report.warnings += warnings(classes, seen, pixels, void_pixels)
    return report


def _complete(split: str, source: FileSource) -> tuple[list[int], list[Problem]]:
    """The samples to inspect, without those that lack a file, which are named together if many."""
    absent = source.missing()
    if len(absent) <= FEW:
        return list(range(len(source))), []
    missing = set(absent)
    pairs = zip(source.images, source.masks, strict=True)
    complete = [index for index, pair in enumerate(pairs) if not missing & {*pair}]
    message = (
        f"{len(absent)} files do not exist, such as {absent[0]}, and {len(source) - len(complete)} "
        f"of {len(source)} samples lack one; complete the folder or the split file"
    )
    return complete, [Problem(split, source.ids[0], message)]


def _inspect(
    source: FileSource, index: int
) -> tuple[list[str], np.ndarray, list[str], Traits | None]:
    """A sample's problems, label counts (256,) int64, what reading changed, and its traits."""
    messages, changes, own = [], [], None
    counts = np.zeros(256, np.int64)
    image = mask = None
    try:
        image = source.image(index)
        changes = conversions(source.images[index])
    except InputError as error:
        messages.append(str(error))
    try:
        mask = source.mask(index)
        counts = np.bincount(mask.ravel(), minlength=256)
        if counts[VOID] == mask.size:
            messages.append(
                f"mask {source.masks[index].name} has no labelled pixel; label it or take the "
                "sample off the list"
            )
    except InputError as error:
        messages.append(str(error))
    if image is not None and mask is not None:
        try:
            source.require_same_size(index, image, mask)
            orientation = exif_orientation(source.images[index])
            own = traits(image, mask, source.masks[index], source.colors, orientation)
        except InputError as error:
            messages.append(str(error))
    return messages, counts, changes, own


def _repeated_ids(sources: dict[str, FileSource]) -> Iterator[Problem]:
    first_split: dict[str, str] = {}
    for split, source in sources.items():
        for sample in source.ids:
            if (first := first_split.setdefault(sample, split)) != split:
                yield Problem(split, sample, f"sample {sample} is in {first} too; keep it in one")
        for sample, times in Counter(source.ids).items():
            if times > 1:
                yield Problem(split, sample, f"sample {sample} is listed {times} times; keep one")
