"""PASCAL VOC's format, with CVAT's and labelme's variants: pictures of classes."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache, partial
from pathlib import Path

import numpy as np

from fcn_keras.data.annotations.annotated import (
    IGNORE,
    Annotated,
    Annotations,
    Color,
    PhotoFinder,
    Region,
    require_size,
)
from fcn_keras.data.class_list import read_classes
from fcn_keras.data.classes import VOC, VOID, ClassTable
from fcn_keras.data.images import read_mask, read_size
from fcn_keras.data.voc import SPLITS_FOLDER, read_lines
from fcn_keras.errors import InputError

MASKS = ("SegmentationClass", "SegmentationClassPNG")
PHOTOS = ("JPEGImages", "images")


def read_voc(source: Path, images: Path | None = None) -> Annotations:
    """Reads a folder with `SegmentationClass/` and `JPEGImages/`.

    The classes and colours are those of `labelmap.txt` (CVAT), the names of `class_names.txt`
    (labelme), or else VOC's own; void is 255 or the colour (224, 224, 192). XML files of boxes
    are not read.

    Raises:
        InputError: a folder is missing, or the classes, a mask or a photo can't be used.
    """
    folder = next((source / name for name in MASKS if (source / name).is_dir()), None)
    if folder is None:
        raise InputError(
            f"folder {source} has no SegmentationClass, and XML files of boxes say nothing about "
            'pixels; export masks, such as CVAT\'s "Segmentation mask 1.1"'
        )
    classes, colored = _classes(source)
    splits = _splits(source)
    near = [images] if images else [source / name for name in PHOTOS]
    finder = PhotoFinder(near, endings=False)
    read = lru_cache(1)(read_mask)  # for all classes of a photo
    photos = []
    colors = classes.colors if colored else None
    for path in sorted(folder.rglob("*.png")):
        name = path.relative_to(folder).with_suffix("").as_posix()
        size = read_size(path)
        photo = finder.find(name, f"mask {path.name}")
        require_size(photo, size, f"mask {path.name}")
        regions = tuple(
            Region(label, partial(_of, partial(read, path, len(classes), colors), number))
            for number, label in (*enumerate(classes.names), (VOID, IGNORE))
        )
        photos.append(Annotated(name, photo, size, regions, splits.get(name)))
    if not photos:
        raise InputError(f"mask folder {folder} has no PNG; export the masks as PNG")
    given = dict(zip(classes.names, classes.colors, strict=True)) if colored else {}
    return Annotations(classes.names, photos, given)


def _of(read: Callable[[], np.ndarray], label: int) -> np.ndarray:
    return read() == label


def _classes(source: Path) -> tuple[ClassTable, bool]:
    """The table, and whether the masks may be in its colours."""
    if (path := source / "labelmap.txt").is_file():
        return _labelmap(path), True
    if (path := source / "class_names.txt").is_file():
        return read_classes(path)
    return VOC, True


def _labelmap(path: Path) -> ClassTable:
    """CVAT's list: ``name:red,green,blue:parts:actions``."""
    names: list[str] = []
    colors: list[Color] = []
    for number, line in enumerate(read_lines(path), 1):
        if not line.strip() or line.startswith("#"):
            continue
        name, _, rest = line.partition(":")
        words = rest.partition(":")[0].split(",")
        if not name.strip() or len(words) != 3 or not all(word.isdecimal() for word in words):
            raise InputError(
                f"class list {path} line {number} is {line!r:.60}; write `name:red,green,blue::`"
            )
        red, green, blue = (min(int(word), 255) for word in words)
        names.append(name.strip())
        colors.append((red, green, blue))
    if len({*colors}) != len(colors) or len({*names}) != len(names):
        raise InputError(f"class list {path} repeats a name or a colour; make them differ")
    return ClassTable(path.parent.name, tuple(names), tuple(colors))


def _splits(source: Path) -> dict[str, str]:
    """The split of each name in `ImageSets/Segmentation`, train before val."""
    found: dict[str, str] = {}
    for split in ("train", "val", "test"):
        if (path := source / SPLITS_FOLDER / f"{split}.txt").is_file():
            for line in read_lines(path):
                found.setdefault(line.strip(), split)
    return found
