"""MS COCO's format: one JSON file for many photos."""

from __future__ import annotations

from collections import Counter, defaultdict
from functools import partial
from pathlib import Path
from typing import Any

from fcn_keras.data.annotations import areas
from fcn_keras.data.annotations.annotated import (
    Annotated,
    Annotations,
    PhotoFinder,
    Region,
    output_name,
    require_size,
)
from fcn_keras.data.annotations.areas import Area, Size
from fcn_keras.data.annotations.entry import FIX, Entry, read_json
from fcn_keras.data.annotations.splits import split_of
from fcn_keras.errors import InputError


def read_coco(source: Path, images: Path | None = None) -> Annotations:
    """Reads a JSON file, or every COCO file below a folder.

    Polygons with several parts are their union, drawn by pycocotools; run lengths, compressed or
    not, give every pixel. Objects without either, which are boxes or points alone, are left out.
    The labels are in the order of the categories' ids.

    Raises:
        InputError: a file, one of its entries or a photo can't be used, or pycocotools is missing.
    """
    found = Annotations((), [])
    names: dict[int, str] = {}
    for path in sorted(source.rglob("*.json")) if source.is_dir() else [source]:
        record = read_json(path)
        if isinstance(record, dict) and {"images", "annotations", "categories"} <= record.keys():
            _read(Entry(record, path.name), path, source, images, names, found)
    if not found.photos:
        raise InputError(f"{source} holds no JSON file of COCO's with images; export it again")
    found.labels = tuple(dict.fromkeys(name for _, name in sorted(names.items())))
    return found


def _read(
    record: Entry,
    path: Path,
    source: Path,
    images: Path | None,
    names: dict[int, str],
    found: Annotations,
) -> None:
    """Adds what one file holds to `names`, by the categories' ids, and to `found`."""
    for category in record.entries("categories", "category"):
        number, name = category.whole("id"), category.text("name")
        if names.setdefault(number, name) != name:
            raise InputError(
                f"{category.where} gives id {number} to {name}, which is {names[number]} in "
                f"another place; {FIX}"
            )
    objects = defaultdict(list)
    for annotation in record.entries("annotations", "annotation"):
        objects[annotation.whole("image_id")].append(annotation)
    near = [images] if images else [path.parent, path.parent / "images", path.parent.parent]
    finder = PhotoFinder(near)
    split = split_of(path.relative_to(source) if source.is_dir() else Path(path.name))
    for image in record.entries("images", "image"):
        size = (image.whole("height"), image.whole("width"))
        file_name = image.text("file_name")
        photo = finder.find(file_name, image.where)
        require_size(photo, size, image.where)
        regions = (
            _region(one, size, names, found.skipped) for one in objects.pop(image.whole("id"), [])
        )
        name = output_name(file_name)
        found.photos.append(Annotated(name, photo, size, tuple(filter(None, regions)), split))
    if objects:
        number, (first, *_) = next(iter(objects.items()))
        raise InputError(f"{first.where} is of image {number}, which is not in the file; {FIX}")


def _region(
    annotation: Entry, size: Size, names: dict[int, str], skipped: Counter[str]
) -> Region | None:
    category = annotation.whole("category_id")
    if category not in names:
        raise annotation.error("category_id", "the id of a category in the file")
    where = f"{annotation.where} ({names[category]})"
    shape = annotation.record.get("segmentation")
    if not shape:
        skipped["objects without a segmentation"] += 1
        return None
    if isinstance(shape, dict):
        area = _run_lengths(Entry(shape, where), size)
    else:
        area = _polygons(annotation, size, where)
    return Region(names[category], area, crowd=annotation.whole("iscrowd", 0) > 0)


def _polygons(annotation: Entry, size: Size, where: str) -> Area:
    parts: Any = annotation.record["segmentation"]
    if not isinstance(parts, list) or not all(isinstance(part, list) for part in parts):
        raise annotation.error("segmentation", "a list of polygons, or run lengths")
    for part in parts:
        if len(part) < 6 or len(part) % 2:
            raise InputError(
                f"{where} has a polygon of {len(part)} numbers, but x and y of three or more "
                f"corners are needed; {FIX}"
            )
        pairs = [list(pair) for pair in zip(part[::2], part[1::2], strict=True)]
        areas.require_inside(Entry({"points": pairs}, where).points("points"), size, where)
    areas.pycocotools()  # if it is missing, fail before any work
    numbers = [[float(x) for x in part] for part in parts]
    return partial(areas.coco_polygons, numbers, size)


def _run_lengths(shape: Entry, size: Size) -> Area:
    if shape.record.get("size") != list(size):
        raise shape.error("size", f"[{size[0]}, {size[1]}], the photo's height and width")
    written = shape.record.get("counts")
    counts = decompress(written) if isinstance(written, str) else written
    if (
        not isinstance(counts, list)
        or not all(type(count) is int and count >= 0 for count in counts)
        or sum(counts) != size[0] * size[1]
    ):
        raise shape.error("counts", f"run lengths that add up to {size[0] * size[1]} pixels")
    return partial(areas.runs, counts, size, by_columns=True)


def decompress(text: str) -> list[int] | None:
    """Decodes COCO's text form of run lengths.

    A character has five bits of a number, the low ones first; from the fourth number on they are
    differences from the one before the last.

    Returns:
        The lengths; None if the text is invalid.
    """
    counts: list[int] = []
    value = shift = 0
    for character in text:
        bits = ord(character) - 48
        if not 0 <= bits < 64 or shift > 60:
            return None
        value |= (bits & 31) << shift
        shift += 5
        if bits & 32:
            continue
        if bits & 16:
            value -= 1 << shift
        counts.append(value + (counts[-2] if len(counts) > 2 else 0))
        value = shift = 0
    return None if shift else counts
