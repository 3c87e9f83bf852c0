"""Contact sheets: samples as the network sees them, beside their masks."""

import numpy as np

from fcn_keras.data.augmentation import Augmentation
from fcn_keras.data.pipeline import train_batches
from fcn_keras.data.source import Source

_GAP = 4  # pixels between cells


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
    cells = np.pad(
        cells, ((0, -count % columns), (0, _GAP), (0, _GAP), (0, 0)), constant_values=255
    )
    rows, (height, width) = len(cells) // columns, cells.shape[1:3]
    grid = cells.reshape(rows, columns, height, width, 3).swapaxes(1, 2)
    return grid.reshape(rows * height, columns * width, 3)
