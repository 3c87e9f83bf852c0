"""Records of annotation files that know where they are, for error messages."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

from fcn_keras.errors import InputError
from fcn_keras.storage import reason

FIX = "correct it in the annotation tool and export again"

Points = list[tuple[float, float]]
"""Corners as (x, y), pixels from the photo's upper left corner."""


def read_json(path: Path) -> Any:
    """What a JSON file holds.

    Raises:
        InputError: it can't be read.
    """
    try:
        return json.loads(path.read_text("utf-8-sig"))
    except (OSError, ValueError, RecursionError) as error:
        raise InputError(
            f"annotation file {path} can't be read ({reason(error)}); export it again"
        ) from error


class Entry:
    """An object of a JSON file, or the attributes of an XML element.

    Args:
        record: Its contents.
        where: The file and the place in it, such as ``a.json, shape 3``.

    Raises:
        InputError: `record` is of another type. The methods raise it if a value is missing or
            invalid.
    """

    def __init__(self, record: Any, where: str):
        if not isinstance(record, dict):
            raise InputError(f"{where} is {record!r:.60}, but must be an object; {FIX}")
        self.record, self.where = record, where

    def __contains__(self, key: str) -> bool:
        return self.record.get(key) is not None

    def text(self, key: str) -> str:
        """A string that isn't empty."""
        value = self.record.get(key)
        if not isinstance(value, str) or not value.strip():
            raise self.error(key, "a text")
        return value.strip()

    def number(self, key: str, default: float | None = None) -> float:
        """A finite number, or a string of one as in XML."""
        value = self.record.get(key, default)
        number = _number(value)
        if number is None:
            raise self.error(key, "a number")
        return number

    def whole(self, key: str, default: int | None = None) -> int:
        """A whole number of at least 0."""
        number = self.number(key, default)
        if number < 0 or number != int(number):
            raise self.error(key, "a whole number of at least 0")
        return int(number)

    def entries(self, key: str, name: str) -> list[Entry]:
        """The objects of a list, each called `name` and its number."""
        value = self.record.get(key)
        if not isinstance(value, list):
            raise self.error(key, "a list")
        return [Entry(one, f"{self.where}, {name} {i}") for i, one in enumerate(value, 1)]

    def points(self, key: str) -> Points:
        """A list of pairs of numbers."""
        value = self.record.get(key)
        if not isinstance(value, list):
            raise self.error(key, "a list of points")
        points = []
        for point in value:
            pair = [_number(x) for x in point] if isinstance(point, list | tuple) else []
            if len(pair) != 2 or pair[0] is None or pair[1] is None:
                raise InputError(
                    f"{self.where} has the point {point!r:.60}, which is not x, y; {FIX}"
                )
            points.append((pair[0], pair[1]))
        return points

    def error(self, key: str, wanted: str) -> InputError:
        """The error that a value is not what was wanted."""
        if key not in self:
            return InputError(f"{self.where} has no {key}, which must be {wanted}; {FIX}")
        value = self.record[key]
        return InputError(f"{self.where} has {key} {value!r:.60}, but it must be {wanted}; {FIX}")


def _number(value: Any) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    try:
        number = float(value)
    except (ValueError, OverflowError):
        return None
    return number if math.isfinite(number) else None
