"""Class tables: what each label value means and the colour it is drawn in."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from fcn_keras.errors import InputError

VOID = 255
"""The label of pixels that belong to no class: left out of the loss and of every score."""

VOID_COLOR = (224, 224, 192)


@dataclass(frozen=True)
class ClassTable:
    """Names and colours of a data set's classes, indexed by class id.

    Raises:
        InputError: the numbers of names and colours differ, or the ids reach 255 (void).
    """

    name: str
    names: tuple[str, ...]
    colors: tuple[tuple[int, int, int], ...]

    def __post_init__(self) -> None:
        if len(self.names) != len(self.colors):
            raise InputError(
                f"class table {self.name} has {len(self.names)} names but {len(self.colors)} "
                "colours; give each class one of both"
            )
        if not 1 <= len(self.names) <= VOID:
            raise InputError(
                f"class table {self.name} has {len(self.names)} classes; labels are one byte and "
                "255 is void, so give 1 to 255"
            )

    @classmethod
    def numbered(cls, count: int) -> ClassTable:
        """A table of classes whose names are unknown, in VOC's colours."""
        colors = tuple(map(tuple, voc_color_map()[:count].tolist()))
        return cls("unnamed", tuple(f"class {index}" for index in range(count)), colors)

    def __len__(self) -> int:
        return len(self.names)

    @property
    def palette(self) -> np.ndarray:
        """RGB by label, uint8 ``(256, 3)``: the classes, then VOC's colour map; 255 is void."""
        palette = voc_color_map()
        palette[: len(self)] = self.colors
        palette[VOID] = VOID_COLOR
        return palette


def voc_color_map() -> np.ndarray:
    """PASCAL VOC's colour map, uint8 ``(256, 3)`` (VOC development kit, VOClabelcolormap.m).

    Bits 0, 3, 6 of the label go to red, 1, 4, 7 to green and 2, 5 to blue, most significant first.

    >>> voc_color_map()[[0, 1, 15, 255]].tolist()
    [[0, 0, 0], [128, 0, 0], [192, 128, 128], [224, 224, 192]]
    """
    labels = np.arange(256)
    colors = np.zeros((256, 3), np.uint8)
    for level in range(3):
        for channel in range(3):
            bit = labels >> (3 * level + channel) & 1
            colors[:, channel] |= (bit << (7 - level)).astype(np.uint8)
    return colors


def _table(name: str, *rows: tuple[int, str, tuple[int, int, int]]) -> ClassTable:
    ids, names, colors = zip(*rows, strict=True)
    assert ids == tuple(range(len(rows)))
    return ClassTable(name, names, colors)


# fmt: off
VOC = _table(
    "voc2012",
    ( 0, "background",   (  0,   0,   0)),
    ( 1, "aeroplane",    (128,   0,   0)),
    ( 2, "bicycle",      (  0, 128,   0)),
    ( 3, "bird",         (128, 128,   0)),
    ( 4, "boat",         (  0,   0, 128)),
    ( 5, "bottle",       (128,   0, 128)),
    ( 6, "bus",          (  0, 128, 128)),
    ( 7, "car",          (128, 128, 128)),
    ( 8, "cat",          ( 64,   0,   0)),
    ( 9, "chair",        (192,   0,   0)),
    (10, "cow",          ( 64, 128,   0)),
    (11, "dining table", (192, 128,   0)),
    (12, "dog",          ( 64,   0, 128)),
    (13, "horse",        (192,   0, 128)),
    (14, "motorbike",    ( 64, 128, 128)),
    (15, "person",       (192, 128, 128)),
    (16, "potted plant", (  0,  64,   0)),
    (17, "sheep",        (128,  64,   0)),
    (18, "sofa",         (  0, 192,   0)),
    (19, "train",        (128, 192,   0)),
    (20, "tv/monitor",   (  0,  64, 128)),
)

CAMVID = _table(
    "camvid",
    ( 0, "sky",         (128, 128, 128)),
    ( 1, "building",    (128,   0,   0)),
    ( 2, "pole",        (192, 192, 128)),
    ( 3, "road",        (128,  64, 128)),
    ( 4, "pavement",    ( 60,  40, 222)),
    ( 5, "tree",        (128, 128,   0)),
    ( 6, "sign symbol", (192, 128, 128)),
    ( 7, "fence",       ( 64,  64, 128)),
    ( 8, "car",         ( 64,   0, 128)),
    ( 9, "pedestrian",  ( 64,  64,   0)),
    (10, "bicyclist",   (  0, 128, 192)),
)

CITYSCAPES = _table(
    "cityscapes",
    ( 0, "road",          (128,  64, 128)),
    ( 1, "sidewalk",      (244,  35, 232)),
    ( 2, "building",      ( 70,  70,  70)),
    ( 3, "wall",          (102, 102, 156)),
    ( 4, "fence",         (190, 153, 153)),
    ( 5, "pole",          (153, 153, 153)),
    ( 6, "traffic light", (250, 170,  30)),
    ( 7, "traffic sign",  (220, 220,   0)),
    ( 8, "vegetation",    (107, 142,  35)),
    ( 9, "terrain",       (152, 251, 152)),
    (10, "sky",           ( 70, 130, 180)),
    (11, "person",        (220,  20,  60)),
    (12, "rider",         (255,   0,   0)),
    (13, "car",           (  0,   0, 142)),
    (14, "truck",         (  0,   0,  70)),
    (15, "bus",           (  0,  60, 100)),
    (16, "train",         (  0,  80, 100)),
    (17, "motorcycle",    (  0,   0, 230)),
    (18, "bicycle",       (119,  11,  32)),
)

SHAPES = _table(
    "shapes",
    ( 0, "background", (  0,   0,   0)),
    ( 1, "circle",     (220,  50,  47)),
    ( 2, "square",     (181, 137,   0)),
    ( 3, "triangle",   ( 60, 160,  60)),
    ( 4, "star",       ( 38, 139, 210)),
    ( 5, "ring",       (160,  70, 190)),
)
# fmt: on
