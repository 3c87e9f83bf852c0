"""The first release's functions, under their old names."""

from __future__ import annotations

from collections.abc import Sequence
from os import PathLike
from pathlib import Path

import keras
import numpy as np

from fcn_keras.export.door import export_model
from fcn_keras.export.formats import FORMATS
from fcn_keras.export.proof import compare


def export_saved_model(
    model: keras.Model,
    directory: str | PathLike,
    *,
    input_size: tuple[int, int] | None = None,
) -> float:
    """As `export_model` with ``format="saved-model"``; returns the difference of its proof."""
    done = export_model(model, directory, format="saved-model", input_size=input_size)
    return done.proof.difference


def largest_difference(
    model: keras.Model, directory: str | PathLike, shapes: Sequence[tuple[int, int, int]]
) -> float:
    """The largest difference of a SavedModel's logits from the model's, in a fresh process.

    Args:
        model: The model that was exported.
        directory: Its SavedModel.
        shapes: ``(B, H, W)`` of the random images to compare on.

    Returns:
        The difference as a share of the range of the model's logits.

    Raises:
        ExportError: TensorFlow fails to load or run the SavedModel.
    """
    random = np.random.default_rng(0)
    images = {
        str(shape): random.integers(0, 256, (*shape, 3)).astype(np.float32) for shape in shapes
    }
    proof = compare(model, Path(directory), FORMATS["saved-model"], "logits", images)
    return proof.difference
