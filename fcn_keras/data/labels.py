"""Which labels a split really has: one that has none, or one only, can't train or test a model."""

from __future__ import annotations

import numpy as np

from fcn_keras.data.classes import VOID
from fcn_keras.data.source import Source
from fcn_keras.errors import InputError


def require_labels(source: Source, split: str) -> str | None:
    """Makes sure that a split has labelled pixels.

    Reads masks, spread over the split, until two classes have been seen: mostly one or two.

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
