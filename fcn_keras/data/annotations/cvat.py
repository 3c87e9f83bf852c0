"""CVAT's own format, "CVAT for images 1.1": one XML file for many photos."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ElementTree
from collections import Counter
from functools import partial
from pathlib import Path

import numpy as np

from fcn_keras.data.annotations import areas
from fcn_keras.data.annotations.annotated import (
    Annotated,
    Annotations,
    Color,
    PhotoFinder,
    Region,
    output_name,
    require_size,
)
from fcn_keras.data.annotations.areas import Area, Size
from fcn_keras.data.annotations.entry import FIX, Entry, Points
from fcn_keras.data.annotations.splits import split_of
from fcn_keras.errors import InputError
from fcn_keras.storage import reason

WITHOUT_AREA = ("polyline", "points", "cuboid", "skeleton", "tag")
_COLOR = re.compile(r"#([0-9a-fA-F]{6})")


def read_cvat(source: Path, images: Path | None = None) -> Annotations:
    """Reads an XML file, or all below a folder.

    Polygons, masks, boxes and ellipses, rotated or not, are areas; polylines, points, cuboids,
    skeletons and tags are left out. ``z_order`` puts shapes on top of each other. The labels and
    their colours are those of the project.

    Raises:
        InputError: a file, one of its entries or a photo can't be used.
    """
    found = Annotations((), [])
    labels: list[str] = []
    for path in sorted(source.rglob("*.xml")) if source.is_dir() else [source]:
        root = _parse(path)
        if root.tag != "annotations":
            raise InputError(
                f'annotation file {path} is not a CVAT file; export as "CVAT for images 1.1"'
            )
        for label in root.iterfind("meta//labels/label"):
            name = (label.findtext("name") or "").strip()
            labels.append(name)
            if match := _COLOR.fullmatch((label.findtext("color") or "").strip()):
                found.colors[name] = _rgb(match[1])
        near = [images] if images else [path.parent / "images", path.parent, path.parent.parent]
        finder = PhotoFinder(near)
        found.photos += [
            _photo(image, path.name, finder, found.skipped) for image in root.iterfind("image")
        ]
    if not found.photos:
        raise InputError(f'{source} holds no XML file with images; export as "CVAT for images 1.1"')
    used = (region.label for photo in found.photos for region in photo.regions)
    found.labels = tuple(dict.fromkeys([*filter(None, labels), *used]))
    return found


def _parse(path: Path) -> ElementTree.Element:
    """The root of an XML file without entities of its own, which could grow without end."""
    try:
        text = path.read_bytes().decode("utf-8-sig")
        if "<!DOCTYPE" in text:
            raise InputError(
                f"annotation file {path} has a DOCTYPE, which CVAT doesn't write; {FIX}"
            )
        return ElementTree.fromstring(text)
    except (OSError, ValueError, ElementTree.ParseError) as error:
        if isinstance(error, InputError):
            raise
        raise InputError(
            f"annotation file {path} can't be read ({reason(error)}); export it again"
        ) from error


def _rgb(digits: str) -> Color:
    red, green, blue = bytes.fromhex(digits)
    return red, green, blue


def _photo(
    image: ElementTree.Element, file: str, finder: PhotoFinder, skipped: Counter[str]
) -> Annotated:
    record = Entry(dict(image.attrib), f"{file}, image {image.get('id')}")
    name = record.text("name")
    where = f"{file}, image {name}"
    size = (record.whole("height"), record.whole("width"))
    photo = finder.find(name, where)
    require_size(photo, size, where)
    regions = []
    for number, element in enumerate(image, 1):
        if element.tag in WITHOUT_AREA:
            skipped[f"{element.tag} shapes, which have no area"] += 1
            continue
        shape = Entry(dict(element.attrib), f"{where}, shape {number}")
        area = _area(element.tag, shape, size)
        regions.append(Region(shape.text("label"), area, layer=int(shape.number("z_order", 0))))
    split = split_of(Path(record.record.get("subset", "")))
    return Annotated(output_name(name), photo, size, tuple(regions), split)


def _area(kind: str, shape: Entry, size: Size) -> Area:
    if kind == "mask":
        return _mask(shape, size)
    if kind == "polygon":
        pairs = [pair.split(",") for pair in shape.text("points").split(";") if pair.strip()]
        corners = Entry({"points": pairs}, shape.where).points("points")
        if len(corners) < 3:
            raise InputError(f"{shape.where} is a polygon of {len(corners)} points; {FIX}")
        return _polygon(corners, shape, size)
    if kind == "box":
        x0, y0, x1, y1 = (shape.number(key) for key in ("xtl", "ytl", "xbr", "ybr"))
        if not shape.number("rotation", 0):
            areas.require_inside([(x0, y0), (x1, y1)], size, shape.where)
            return partial(areas.rectangle, [(x0, y0), (x1, y1)], size)
        return _polygon([(x0, y0), (x1, y0), (x1, y1), (x0, y1)], shape, size)
    if kind == "ellipse":
        numbers = (shape.number(key) for key in ("cx", "cy", "rx", "ry"))
        return _polygon(areas.ellipse_corners(*numbers), shape, size)
    raise InputError(f"{shape.where} is a {kind}, which is not a shape of CVAT's; {FIX}")


def _polygon(corners: Points, shape: Entry, size: Size) -> Area:
    xs, ys = zip(*corners, strict=True)
    center = ((min(xs) + max(xs)) / 2, (min(ys) + max(ys)) / 2)
    if degrees := shape.number("rotation", 0):
        corners = areas.turned(corners, center, degrees)
    areas.require_inside(corners, size, shape.where)
    return partial(areas.polygon, corners, size)


def _mask(shape: Entry, size: Size) -> Area:
    """Run lengths along the rows of a rectangle in the photo."""
    left, top, width, height = (shape.whole(key) for key in ("left", "top", "width", "height"))
    if left + width > size[1] or top + height > size[0]:
        raise InputError(
            f"{shape.where} is a mask of {width} x {height} pixels at ({left}, {top}), which "
            f"leaves the photo of {size[1]} x {size[0]}; {FIX}"
        )
    counts = [
        int(word) if word.strip().isdecimal() else -1 for word in shape.text("rle").split(",")
    ]
    if min(counts) < 0 or sum(counts) != width * height:
        raise shape.error("rle", f"run lengths that add up to {width} x {height} pixels")

    def draw() -> np.ndarray:
        area = np.zeros(size, bool)
        part = areas.runs(counts, (height, width), by_columns=False)
        area[top : top + height, left : left + width] = part
        return area

    return draw
