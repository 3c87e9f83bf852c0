"""The pixels of annotated shapes: bool ``(H, W)``.

Pillow draws polygons, boxes, circles and lines, border included, as labelme does: coordinates are
pixels, the upper left one being (0, 0). pycocotools draws COCO's polygons (`coco_polygons`).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from PIL import Image, ImageDraw

from fcn_keras.data.annotations.entry import Points
from fcn_keras.errors import InputError

Size = tuple[int, int]
"""Height and width."""
Area = Callable[[], np.ndarray]
"""Draws a shape: bool ``(H, W)``."""

LINE_WIDTH, POINT_RADIUS = 10, 5  # labelme's
_ELLIPSE_CORNERS = 360


def require_inside(points: Points, size: Size, where: str) -> None:
    """Refuses corners more than a photo's size outside of it, which belong to another photo.

    Raises:
        InputError: there is such a corner.
    """
    height, width = size
    for x, y in points:
        if not (-width <= x <= 2 * width and -height <= y <= 2 * height):
            raise InputError(
                f"{where} has the point ({x:g}, {y:g}), far outside of the photo of "
                f"{width} x {height} pixels; annotate this very photo"
            )


def polygon(points: Points, size: Size) -> np.ndarray:
    """A polygon of three corners or more, with its border."""
    return _drawn(size, lambda draw: draw.polygon(points, outline=1, fill=1))


def rectangle(points: Points, size: Size) -> np.ndarray:
    """A box, from two opposite corners."""
    (x0, y0), (x1, y1) = points
    box = (min(x0, x1), min(y0, y1), max(x0, x1), max(y0, y1))
    return _drawn(size, lambda draw: draw.rectangle(box, outline=1, fill=1))


def circle(points: Points, size: Size) -> np.ndarray:
    """A circle, from its centre and a point on it."""
    (x, y), other = points
    return _disc(x, y, math.dist((x, y), other), size)


def point(points: Points, size: Size) -> np.ndarray:
    """A dot."""
    return _disc(*points[0], POINT_RADIUS, size)


def line(points: Points, size: Size) -> np.ndarray:
    """A line through all points."""
    return _drawn(size, lambda draw: draw.line(points, fill=1, width=LINE_WIDTH))


def turned(points: Points, center: tuple[float, float], degrees: float) -> Points:
    """Points rotated clockwise (on the screen) about a centre."""
    cosine, sine = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
    (cx, cy) = center
    return [
        (cx + cosine * (x - cx) - sine * (y - cy), cy + sine * (x - cx) + cosine * (y - cy))
        for x, y in points
    ]


def ellipse_corners(cx: float, cy: float, rx: float, ry: float) -> Points:
    """A polygon that stands in for an ellipse, since it can be rotated."""
    angles = np.linspace(0, 2 * np.pi, _ELLIPSE_CORNERS, endpoint=False)
    return [(cx + rx * math.cos(a), cy + ry * math.sin(a)) for a in angles.tolist()]


def runs(counts: Sequence[int], size: Size, *, by_columns: bool) -> np.ndarray:
    """Run lengths of 0, 1, 0 and so on, whose sum is the number of pixels.

    Args:
        counts: The lengths.
        size: Height and width.
        by_columns: Whether they go down the columns, as COCO's, or along the rows, as CVAT's.
    """
    values = np.arange(len(counts)) % 2 == 1
    return np.repeat(values, counts).reshape(size, order="F" if by_columns else "C")


def coco_polygons(parts: list[list[float]], size: Size) -> np.ndarray:
    """All pixels of several polygons ``[x, y, x, y, ...]``, as pycocotools draws them."""
    coder = pycocotools()
    return coder.decode(coder.merge(coder.frPyObjects(parts, *size))).astype(bool)


def pycocotools() -> Any:
    """The module that draws COCO's polygons.

    Raises:
        InputError: it is not installed.
    """
    try:
        from pycocotools import mask
    except ImportError as error:
        raise InputError(
            "polygons of COCO are drawn by pycocotools, which is not installed; "
            "pip install 'fcn-keras[coco]'"
        ) from error
    return mask


def _disc(x: float, y: float, radius: float, size: Size) -> np.ndarray:
    box = (x - radius, y - radius, x + radius, y + radius)
    return _drawn(size, lambda draw: draw.ellipse(box, outline=1, fill=1))


def _drawn(size: Size, draw: Callable[[ImageDraw.ImageDraw], object]) -> np.ndarray:
    height, width = size
    picture = Image.new("L", (width, height))
    draw(ImageDraw.Draw(picture))
    return np.array(picture, dtype=bool)
