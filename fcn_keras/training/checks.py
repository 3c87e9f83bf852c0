"""What a run checks in its data and its scores."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from fcn_keras.data import Source
from fcn_keras.data.labels import balanced_weights
from fcn_keras.errors import InputError
from fcn_keras.evaluation import Scores
from fcn_keras.training.config import TrainConfig


def class_weights_of(
    config: TrainConfig, source: Source, tell: Callable[[str], None]
) -> tuple[float, ...] | None:
    """The class weights of `config` in numbers; None if all classes count the same.

    `tell` receives the values of "balanced".

    Raises:
        InputError: their number is not that of the classes.
    """
    weights, classes = config.class_weights, source.classes
    if isinstance(weights, str):
        weights = balanced_weights(source)
        listed = ", ".join(f"{n} {w:g}" for n, w in zip(classes.names, weights, strict=True))
        tell(f"Balanced class weights: {listed}.")
    if weights is not None and len(weights) != len(classes):
        raise InputError(
            f"class_weights has {len(weights)} numbers, but the data set {classes.name} has "
            f"{len(classes)} classes: give one each"
        )
    return weights


def warn_of_collapse(scores: Scores, names: Sequence[str]) -> str | None:
    """A warning, if all correct pixels are of one class though the truth has several."""
    right = np.flatnonzero(np.nan_to_num(scores.accuracy))
    if len(right) >= 2 or np.count_nonzero(~np.isnan(scores.accuracy)) < 2:
        return None
    found = ", ".join(names[int(index)] for index in right) or "no class"
    return (
        f"Warning: no pixel was correct except those of {found}: the model predicts one class. If "
        "it keeps doing so, lower the learning rate."
    )


def validations_without_gain(mean_ious: Sequence[float]) -> int:
    """How many validations came after the best one.

    >>> validations_without_gain([0.2, 0.5, 0.4, 0.5]), validations_without_gain([0.1])
    (2, 0)
    """
    return len(mean_ious) - 1 - mean_ious.index(max(mean_ious)) if mean_ious else 0
