"""What is measured of a batch's logits: class maps, cross-entropy, confidence."""

from __future__ import annotations

from typing import Any

import numpy as np
from keras import ops

from fcn_keras.data.classes import VOID
from fcn_keras.evaluation.losses import pixel_losses
from fcn_keras.models.scores import class_map, confidence


def measure(logits: Any, masks: Any) -> tuple:
    """Class maps uint8 ``(B, H, W)`` and the cross-entropy summed over non-void pixels."""
    losses, _, labelled = pixel_losses(logits, ops.convert_to_tensor(masks))
    summed = ops.sum(ops.where(labelled, losses, 0.0))
    return class_map(logits), summed


def measure_all(logits: Any, masks: Any) -> tuple:
    """`measure`, and the probabilities of the predicted classes, float32 ``(B, H, W)``."""
    return *measure(logits, masks), confidence(logits)


def cross_entropy(logits: np.ndarray, mask: np.ndarray) -> float:
    """The second result of `measure`, by NumPy: of rows ``(h, W, C)`` and their labels."""
    labelled = mask != VOID
    logits, labels = logits[labelled], mask[labelled]
    largest = logits.max(axis=-1, initial=-np.inf)
    powers = np.exp(logits - largest[:, None]).sum(axis=-1)
    own = np.take_along_axis(logits, labels[:, None].astype(int), axis=-1)[:, 0]
    return float((largest + np.log(powers) - own).sum(dtype=np.float64))
