"""A fingerprint of a run's data, so that a resumed run continues with the same data."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from pathlib import Path

from fcn_keras.data import FileSource, Source
from fcn_keras.errors import InputError


def fingerprint(source: Source) -> dict:
    """The classes of a split, its version if it has one, and its samples in order.

    A sample is its id and, if it is stored in files, the sizes of image and mask in bytes. The
    contents aren't read.

    Raises:
        InputError: a file is missing.
    """
    samples: list[list[str | int]] = [[name] for name in source.ids]
    if isinstance(source, FileSource):
        for sample, image, mask in zip(samples, source.images, source.masks, strict=True):
            sample += [_size(image), _size(mask)]
    return {
        "classes": list(source.classes.names),
        "version": getattr(source, "version", None),
        "samples": samples,
    }


def require_same(before: Mapping, now: Mapping, split: str, folder: Path) -> None:
    """Compares two fingerprints of a split.

    Raises:
        InputError: they differ; the message names the first difference.
    """
    if before == now:
        return
    try:
        difference = _difference(before, now)
    except (KeyError, TypeError, IndexError, ValueError):
        difference = "the record of it is damaged"
    if difference:
        raise InputError(
            f"split {split} is not what the run in {folder} began with: {difference}; restore the "
            "data set, or start a new run"
        )


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError as error:
        raise InputError(f"{path} can't be read ({error.strerror}): restore the file") from error


def _difference(before: Mapping, now: Mapping) -> str | None:
    for name in ("classes", "version"):
        if before[name] != now[name]:
            return f"{name} {now[name]} in place of {before[name]}"
    old, new = before["samples"], now["samples"]
    for was, sample in itertools.zip_longest(old, new):
        if was == sample:
            continue
        if sample is None or was is None or was[0] != sample[0]:
            first, second = ("no sample" if x is None else f"sample {x[0]}" for x in (sample, was))
            return f"{first} in place of {second} ({len(new)} samples in all, {len(old)} before)"
        for kind, size_was, size in zip(("image", "mask"), was[1:], sample[1:], strict=True):
            if size_was != size:
                return f"{kind} {sample[0]} has {size} bytes, {size_was} before"
    return None
