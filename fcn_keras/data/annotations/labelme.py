"""labelme's files: a JSON file beside each photo."""

from __future__ import annotations

import base64
import io
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
from PIL import Image

from fcn_keras.data.annotations import areas
from fcn_keras.data.annotations.annotated import (
    Annotated,
    Annotations,
    PhotoFinder,
    Region,
    require_size,
)
from fcn_keras.data.annotations.areas import Size
from fcn_keras.data.annotations.entry import FIX, Entry, Points, read_json
from fcn_keras.data.images import read_size
from fcn_keras.errors import InputError

# Each kind of shape: its fewest and most points, and who draws it.
SHAPES: dict[str, tuple[int, int | None, Callable[[Points, Size], np.ndarray]]] = {
    "polygon": (3, None, areas.polygon),
    "oriented_rectangle": (4, 4, areas.polygon),
    "rectangle": (2, 2, areas.rectangle),
    "circle": (2, 2, areas.circle),
    "line": (2, 2, areas.line),
    "linestrip": (2, None, areas.line),
    "point": (1, 1, areas.point),
}


def read_labelme(source: Path, images: Path | None = None) -> Annotations:
    """Reads every JSON file below a folder; shapes are drawn as labelme draws them.

    The labels are in alphabetical order.

    Raises:
        InputError: a file, one of its entries or its photo can't be used.
    """
    photos: list[Annotated] = []
    for path in sorted(source.rglob("*.json")):
        record = read_json(path)
        if isinstance(record, dict) and "shapes" in record:
            photos.append(_photo(Entry(record, path.name), path, source, images))
    if not photos:
        raise InputError(
            f"folder {source} holds no JSON file of labelme; give the folder in which it saved them"
        )
    labels = {region.label for photo in photos for region in photo.regions}
    return Annotations(tuple(sorted(labels)), photos)


def _photo(record: Entry, path: Path, source: Path, images: Path | None) -> Annotated:
    near = [images] if images else [path.parent, source]
    photo = PhotoFinder(near).find(record.text("imagePath"), path.name)
    if "imageHeight" in record:
        size = (record.whole("imageHeight"), record.whole("imageWidth"))
        require_size(photo, size, path.name)
    else:  # of an old version
        size = read_size(photo)
    name = path.relative_to(source).with_suffix("").as_posix()
    shapes = record.entries("shapes", "shape")
    return Annotated(name, photo, size, tuple(_region(shape, size) for shape in shapes))


def _region(shape: Entry, size: Size) -> Region:
    label = shape.text("label")
    kind = shape.text("shape_type") if "shape_type" in shape else "polygon"
    where = f"{shape.where} ({label})"
    points = shape.points("points")
    areas.require_inside(points, size, where)
    if kind == "mask":
        return Region(label, partial(_pasted, _small_mask(shape, where), points, size))
    if kind not in SHAPES:
        raise shape.error("shape_type", f"one of {', '.join([*SHAPES, 'mask'])}")
    fewest, most, draw = SHAPES[kind]
    if len(points) < fewest or (most and len(points) > most):
        raise InputError(
            f"{where} is a {kind} of {len(points)} points, but needs "
            f"{fewest}{'' if most else ' or more'}; {FIX}"
        )
    return Region(label, partial(draw, points, size))


def _small_mask(shape: Entry, where: str) -> np.ndarray:
    """The picture in a shape of labelme's AI tools: bool ``(h, w)``."""
    try:
        data = base64.b64decode(shape.text("mask"), validate=True)
        with Image.open(io.BytesIO(data), formats=("PNG",)) as picture:
            return np.array(picture.convert("L")) > 0
    except InputError:
        raise
    except Exception as error:  # Pillow raises many kinds of errors for bad data
        raise InputError(f"{where} has a mask that is not a picture; {FIX}") from error


def _pasted(small: np.ndarray, points: Points, size: Size) -> np.ndarray:
    """`small` with its upper left pixel at the first point."""
    (left, top), *_ = np.array(points).astype(int).tolist()
    area = np.zeros(size, bool)
    rows, columns = slice(max(top, 0), top + len(small)), slice(max(left, 0), left + small.shape[1])
    target = area[rows, columns]
    target[:] = small[max(-top, 0) :, max(-left, 0) :][: target.shape[0], : target.shape[1]]
    return area
