"""What the values of a gray or colour mask mean: class ids, or colours of the class table."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np

from fcn_keras.data.classes import VOID, VOID_COLOR
from fcn_keras.errors import InputError

Colors = tuple[tuple[int, int, int], ...]
"""RGB by class id."""

_BLENDED = 3  # this many unknown colours or more come from smoothed edges

_UNKNOWN = -1
_BLOCK_PIXELS = 1 << 20


def gray_labels(values: np.ndarray, name: str, colors: Colors | None) -> np.ndarray:
    """The labels of a gray mask: its values, or the classes of which they are the colours.

    They are colours if all of them are in the table and either some can't be class ids (255 is
    white then, not void), or the table has grays only. A table of grays without white leaves 255
    to void.

    Args:
        values: ``(H, W)`` integers.
        name: The file, for messages.
        colors: RGB by class id; None where values can be ids only.

    Returns:
        int32 ``(H, W)``.

    Raises:
        InputError: the table has grays only, and the values are neither its colours nor ids that
            mean the same.
    """
    if colors is None:
        return values.astype(np.int32)
    grays = {color[0]: label for label, color in enumerate(colors) if len(set(color)) == 1}
    only_grays = len(grays) == len(colors)
    used = set(np.unique(values).tolist())
    known = grays.keys() | {VOID} if only_grays else grays.keys()
    are_ids = all(value < len(colors) for value in used - ({VOID} - grays.keys()))
    if used <= known and (only_grays or not are_ids):
        labels = np.full(values.shape, VOID, np.int32)
        for gray, label in grays.items():
            labels[values == gray] = label
        return labels
    if only_grays and not are_ids and values.max() <= 255:
        return color_labels(np.repeat(values.astype(np.uint8)[..., None], 3, axis=2), name, colors)
    if only_grays and grays.get(0, 0) != 0:
        raise InputError(
            f"mask {name} holds the values {_some(used)}, which may be class ids or shades: the "
            f"class table gives shade 0 to class {grays[0]}; repaint the mask in the table's "
            "colours, or leave the colours out of the table"
        )
    return values.astype(np.int32)


def color_labels(rgb: np.ndarray, name: str, colors: Colors) -> np.ndarray:
    """The labels of a colour mask.

    Args:
        rgb: uint8 ``(H, W, 3)``.
        name: The file, for messages.
        colors: RGB by class id; (224, 224, 192) is void unless a class has it.

    Returns:
        int32 ``(H, W)``.

    Raises:
        InputError: a colour is not in the table.
    """
    labels = np.empty(rgb.shape[:2], np.int32)
    for rows in _blocks(labels):
        codes = _codes(rgb[rows])
        labels[rows] = _UNKNOWN
        for label, color in [(VOID, VOID_COLOR), *enumerate(colors)]:
            labels[rows][codes == _codes(np.array(color, np.uint8))] = label
    unknown = labels == _UNKNOWN
    if unknown.any():
        raise InputError(f"mask {name} holds {_complaint(rgb, unknown)}")
    return labels


def _complaint(rgb: np.ndarray, unknown: np.ndarray) -> str:
    """What is wrong with a colour mask in the pixels of a bool ``(H, W)``, and what to do."""
    y, x = np.unravel_index(np.argmax(unknown), unknown.shape)
    example = f"{tuple(rgb[y, x].tolist())} at row {y}, column {x}"
    seen = np.zeros(1 << 24, bool)
    for rows in _blocks(unknown):
        seen[_codes(rgb[rows])[unknown[rows]]] = True
    count = np.count_nonzero(seen)
    if count >= _BLENDED:
        return (
            f"{count} colours that are not in the class table, in {100 * unknown.mean():.2g} % of "
            f"its pixels, such as {example}: edges are smoothed (anti-aliased); save it without "
            "smoothing, or repaint it"
        )
    return f"colour {example}, which is not in the class table; add it or repaint the mask"


def _codes(rgb: np.ndarray) -> np.ndarray:
    """One number for each colour, uint32."""
    red, green, blue = np.moveaxis(rgb.astype(np.uint32), -1, 0)
    return red << 16 | green << 8 | blue


def _blocks(pixels: np.ndarray) -> Iterator[slice]:
    """Rows of ``(H, W)`` that go together: codes take four times the memory of the colours."""
    height, width = pixels.shape
    step = max(1, _BLOCK_PIXELS // width)
    return (slice(start, start + step) for start in range(0, height, step))


def shades_hint(labels: np.ndarray) -> str:
    """What to add to a complaint about a label out of range, if the labels look like shades.

    Those of a mask painted in steps, such as 0, 127 and 254, have a common divisor.
    """
    used = set(np.unique(labels).tolist()) - {VOID}
    if len(used) < 2 or min(used) < 0 or math.gcd(*used) < 2:
        return ""
    value = max(used)
    if value > VOID:
        return "; save the mask with 8 bits"
    return (
        f"; if {_some(used)} are shades and not class ids, give them as the classes' colours, as "
        f"in `name {value} {value} {value}`"
    )


def _some(values: set[int]) -> str:
    ordered = [str(value) for value in sorted(values)]
    return ", ".join(ordered[:4]) + (", ..." if len(ordered) > 4 else "")
