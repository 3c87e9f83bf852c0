"""YOLO's segmentation format: a text file of polygons for each photo."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import yaml

from fcn_keras.data.annotations import areas
from fcn_keras.data.annotations.annotated import Annotated, Annotations, Region, photos_below
from fcn_keras.data.annotations.areas import Size
from fcn_keras.data.annotations.entry import FIX, Entry
from fcn_keras.data.annotations.splits import split_of
from fcn_keras.data.images import read_size
from fcn_keras.errors import InputError
from fcn_keras.storage import reason

LISTS = ("classes.txt", "obj.names", "_darknet.labels")
NOT_LABELS = {"classes.txt", "train.txt", "val.txt", "valid.txt", "test.txt"}


def read_yolo(source: Path, images: Path | None = None) -> Annotations:
    """Reads a folder with `images/` and `labels/`, inside of folders for splits or around them.

    A line of a label file is a class number and the corners of a polygon, x and y in turn, as
    fractions of the photo's width and height. A photo without a file has no objects. The names are
    those of `data.yaml`, or of a list such as `classes.txt`.

    Raises:
        InputError: the names, a file, one of its lines or a photo can't be used.
    """
    labels = _names(source)
    by_name = {
        _key(path.relative_to(source)): path
        for path in sorted(source.rglob("*.txt"))
        if path.name not in NOT_LABELS and not path.name.startswith("README")  # Roboflow's
    }
    folder = images or source
    photos = []
    for photo in photos_below(folder):
        relative = photo.relative_to(folder)
        size = read_size(photo)
        file = by_name.pop(_key(relative), None)
        regions = _regions(file, labels, size) if file else ()
        split = split_of(relative.parent)
        photos.append(Annotated(_key(relative), photo, size, regions, split))
    if not any(photo.regions for photo in photos):
        raise InputError(
            f"folder {source} has no photo with a file of polygons; give the folder that holds "
            "images and labels, and the folder of the photos as `images` if it is another one"
        )
    if by_name:
        first = next(iter(by_name.values()))
        raise InputError(
            f"label file {first} belongs to no photo ({len(by_name)} such files); add the photo, "
            "or give the folder of the photos as `images`"
        )
    return Annotations(labels, photos)


def _key(path: Path) -> str:
    """What a photo and its labels share: the path without ``images``, ``labels`` and extension."""
    parts = [part for part in path.with_suffix("").parts if part not in ("images", "labels")]
    return "/".join(parts)


def _names(source: Path) -> tuple[str, ...]:
    for path in (*sorted(source.glob("*.yaml")), *sorted(source.glob("*.yml"))):
        try:
            record = yaml.safe_load(path.read_text("utf-8-sig"))
        except (OSError, ValueError, RecursionError, yaml.YAMLError) as error:
            raise InputError(f"{path} can't be read ({reason(error)}); export it again") from error
        if isinstance(record, dict) and "names" in record:
            return _listed(record["names"], path)
    for path in (found for name in LISTS for found in sorted(source.rglob(name))):
        try:
            lines = path.read_text("utf-8-sig").splitlines()
        except (OSError, ValueError) as error:
            raise InputError(f"{path} can't be read ({reason(error)}); export it again") from error
        if names := tuple(line.strip() for line in lines if line.strip()):
            return names
    raise InputError(
        f"folder {source} has neither data.yaml with `names` nor classes.txt; add one of them"
    )


def _listed(names: object, path: Path) -> tuple[str, ...]:
    if isinstance(names, dict) and sorted(map(str, names)) == sorted(map(str, range(len(names)))):
        ordered = {str(number): name for number, name in names.items()}
        names = [ordered[str(number)] for number in range(len(ordered))]
    if not isinstance(names, list) or not names:
        raise InputError(
            f"{path} has names {names!r:.60}, but they must be a list; export it again"
        )
    return tuple(str(name).strip() for name in names)


def _regions(path: Path, labels: tuple[str, ...], size: Size) -> tuple[Region, ...]:
    try:
        lines = path.read_text("utf-8-sig").splitlines()
    except (OSError, ValueError) as error:
        raise InputError(
            f"label file {path} can't be read ({reason(error)}); replace it"
        ) from error
    numbered = ((number, line.split()) for number, line in enumerate(lines, 1))
    return tuple(
        _region(words, labels, size, f"{path.name}, line {number}")
        for number, words in numbered
        if words
    )


def _region(words: list[str], labels: tuple[str, ...], size: Size, where: str) -> Region:
    if not words[0].isdecimal() or int(words[0]) >= len(labels):
        raise InputError(
            f"{where} starts with {words[0]!r:.60}, but a class number from 0 to "
            f"{len(labels) - 1} is needed; correct the line or the names"
        )
    if len(words) == 5:
        raise InputError(
            f"{where} is a box, which says nothing about pixels; export polygons "
            "(segmentation), not boxes"
        )
    if len(words) < 7 or len(words) % 2 == 0:
        raise InputError(
            f"{where} has {len(words) - 1} numbers after the class, but x and y of three or more "
            f"corners are needed; {FIX}"
        )
    pairs = [list(pair) for pair in zip(words[1::2], words[2::2], strict=True)]
    height, width = size
    shares = Entry({"points": pairs}, where).points("points")
    corners = [(x * width, y * height) for x, y in shares]
    areas.require_inside(corners, size, f"{where} (shares of 1)")
    return Region(labels[int(words[0])], partial(areas.polygon, corners, size))
