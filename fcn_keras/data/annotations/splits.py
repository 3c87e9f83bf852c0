"""Which split a photo belongs to, by the names of its folders and files."""

from __future__ import annotations

import re
from pathlib import Path

# "valid" is Roboflow's, "validation" ADE20K's.
SPLITS = {
    "train": "train",
    "training": "train",
    "val": "val",
    "valid": "val",
    "validation": "val",
    "test": "test",
}


def split_of(path: Path) -> str | None:
    """The split that a word of the path names, such as ``instances_val2017.json``.

    >>> split_of(Path("annotations/instances_val2017.json"))
    'val'
    >>> split_of(Path("valid/labels/training_day.txt"))
    'val'
    >>> split_of(Path("labels/a.txt")) is None
    True
    """
    for part in path.parts:
        for word in re.findall("[a-z]+", part.lower()):
            if word in SPLITS:
                return SPLITS[word]
    return None
