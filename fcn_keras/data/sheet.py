"""Contact sheets: samples as the network sees them, beside their masks, or under them."""

from collections.abc import Collection

import numpy as np
from PIL import Image

from fcn_keras.data.augmentation import Augmentation
from fcn_keras.data.pipeline import train_batches
from fcn_keras.data.source import Source

_GAP = 4  # pixels between cells
_CELL = (240, 320)  # height and width of a whole sample


def contact_sheet(
    source: Source,
    *,
    augmentation: Augmentation,
    seed: int = 0,
    count: int = 24,
    columns: int = 4,
) -> np.ndarray:
    """The first `count` samples of training with `seed`, each image left of its coloured mask.

    Returns:
        uint8 RGB ``(rows * (S + 4), columns * (2 * S + 4), 3)`` for a crop size S.
    """
    count = min(count, len(source))
    stream = train_batches(source, batch_size=count, augmentation=augmentation, seed=seed)
    batch = next(stream)
    stream.close()
    cells = np.concatenate([batch["image"], source.classes.palette[batch["mask"]]], axis=2)
    return _grid(cells, columns)


def overlay_sheet(
    source: Source, *, skip: Collection[str] = (), count: int = 12, columns: int = 4
) -> np.ndarray:
    """Whole samples, spread over `source`, with their masks' colours laid over them.

    Args:
        source: The samples.
        skip: Names of samples to leave out.
        count: Samples to show.
        columns: Samples per row.

    Returns:
        uint8 RGB ``(rows * 244, columns * 324, 3)``.
    """
    names = source.ids
    usable = [index for index in range(len(source)) if names[index] not in skip]
    chosen = np.linspace(0, len(usable) - 1, min(count, len(usable))).astype(int)
    cells = np.full((len(chosen), *_CELL, 3), 255, np.uint8)
    for cell, position in zip(cells, chosen, strict=True):
        image, mask = source[usable[position]]
        blend = 0.5 * image + 0.5 * source.classes.palette[mask]
        picture = Image.fromarray(blend.astype(np.uint8))
        picture.thumbnail(_CELL[::-1])
        cell[: picture.height, : picture.width] = np.asarray(picture)
    return _grid(cells, columns)


def _grid(cells: np.ndarray, columns: int) -> np.ndarray:
    """Lays out cells ``(N, H, W, 3)`` row by row, on white."""
    cells = np.pad(
        cells, ((0, -len(cells) % columns), (0, _GAP), (0, _GAP), (0, 0)), constant_values=255
    )
    rows, (height, width) = len(cells) // columns, cells.shape[1:3]
    grid = cells.reshape(rows, columns, height, width, 3).swapaxes(1, 2)
    return grid.reshape(rows * height, columns * width, 3)
