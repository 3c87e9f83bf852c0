"""Which labels a split really has, and how often; without any, it can't train a model."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import numpy as np

from fcn_keras.data.classes import VOID
from fcn_keras.data.source import Source
from fcn_keras.errors import InputError

LARGEST_WEIGHT = 10.0
_READERS = 4


def balanced_weights(source: Source) -> tuple[float, ...]:
    """Median frequency balancing: a weight for each class, from all masks of a split.

    A class's frequency is its pixels over all labelled pixels of the images that have it; its
    weight is the median of the classes' frequencies over its own, at most 10 (Eigen and Fergus,
    ICCV 2015). A class that never occurs has weight 1.

    Raises:
        InputError: a sample can't be read.
    """
    classes = len(source.classes)

    def count(index: int) -> np.ndarray:
        return np.bincount(source[index][1].ravel(), minlength=256)[:classes]

    pixels, around = np.zeros(classes), np.zeros(classes)
    with ThreadPoolExecutor(_READERS) as pool:
        for counts in pool.map(count, range(len(source))):
            pixels += counts
            around += np.where(counts > 0, counts.sum(), 0)
    present = pixels > 0
    frequency = pixels[present] / around[present]
    weights = np.ones(classes)
    weights[present] = np.minimum(np.median(frequency) / frequency, LARGEST_WEIGHT)
    return tuple(round(weight, 4) for weight in weights.tolist())


def require_labels(source: Source, split: str) -> str | None:
    """Makes sure that a split has labelled pixels.

    Reads masks, spread over the split, until two classes have been seen: usually one or two.

    Returns:
        None, or a warning in one line if all of the split's labelled pixels are of one class of
        several.

    Raises:
        InputError: no pixel of the split has a label, or a sample can't be read.
    """
    classes, seen = source.classes, set()
    for index in _spread(len(source)):
        seen |= set(np.unique(source[index][1]).tolist()) - {VOID}
        if len(seen) > 1:
            return None
    if not seen:
        raise InputError(
            f"split {split} has no labelled pixel in {len(source)} samples, all are void ({VOID}); "
            "check how the masks are drawn"
        )
    if len(classes) == 1:
        return None
    (only,) = seen
    return (
        f"Warning: every labelled pixel of split {split} is {classes.names[only]}, and no score "
        "means anything: check how the masks are drawn."
    )


def _spread(count: int) -> list[int]:
    """All of 0..count-1, far ones first: 0, the middle, the quarters, ..."""
    bits = max(count - 1, 1).bit_length()
    turned = (int(f"{index:0{bits}b}"[::-1], 2) for index in range(1 << bits))
    return [index for index in turned if index < count]
