"""Class maps as annotations in MS COCO's format, which annotation tools read."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np

from fcn_keras.data.classes import ClassTable


def dataset(masks: Iterable[tuple[str, np.ndarray]], classes: ClassTable) -> dict[str, Any]:
    """A COCO data set, for JSON: each class in a photo is one run-length encoded annotation.

    Args:
        masks: File names and class maps ``(H, W)``.
        classes: Names of the classes, whose ids are the categories' ids. Void is left out.
    """
    images: list[dict[str, Any]] = []
    areas: list[dict[str, Any]] = []
    for number, (name, mask) in enumerate(masks, start=1):
        height, width = mask.shape
        images.append({"id": number, "file_name": name, "width": width, "height": height})
        for label in np.unique(mask):
            if label < len(classes):
                areas.append(_area(len(areas) + 1, number, int(label), mask == label))
    categories = [{"id": label, "name": name} for label, name in enumerate(classes.names)]
    return {"images": images, "categories": categories, "annotations": areas}


def _area(number: int, image: int, label: int, area: np.ndarray) -> dict[str, Any]:
    rows, columns = (np.flatnonzero(area.any(axis=axis)) for axis in (1, 0))
    left, top = int(columns[0]), int(rows[0])
    return {
        "id": number,
        "image_id": image,
        "category_id": label,
        "iscrowd": 1,  # so that readers expect run lengths
        "area": int(area.sum()),
        "bbox": [left, top, int(columns[-1]) - left + 1, int(rows[-1]) - top + 1],
        "segmentation": {"size": list(area.shape), "counts": run_lengths(area)},
    }


def run_lengths(area: np.ndarray) -> list[int]:
    """The lengths of alternating runs of 0 and 1, beginning with 0, column by column.

    >>> run_lengths(np.array([[0, 1], [0, 1], [1, 0]]))
    [2, 3, 1]
    >>> run_lengths(np.array([[1, 1]]))
    [0, 2]
    """
    values = np.concatenate([[0], np.asarray(area, np.int8).ravel(order="F")])
    ends = np.flatnonzero(np.diff(values))
    return np.diff(np.concatenate([[0], ends, [len(values) - 1]])).tolist()
