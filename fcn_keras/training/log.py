"""log.csv of a run: a row for each validation."""

from __future__ import annotations

import csv
import io
import itertools
from collections.abc import Iterable, Sequence
from os import PathLike
from pathlib import Path

from fcn_keras.errors import InputError
from fcn_keras.storage import reason, replacing

COLUMNS = (
    "epoch",
    "step",
    "learning_rate",
    "train_loss",
    "val_loss",
    "pixel_accuracy",
    "mean_accuracy",
    "mean_iou",
    "fw_iou",
    "train_seconds",
    "val_seconds",
    "images_per_second",
)


def write_log(path: Path, rows: Sequence[dict]) -> None:
    """Rewrites the file; each row has all of `COLUMNS`, and usually `class_columns`.

    Raises:
        SaveError: it can't be written; the old one stays.
    """
    text = io.StringIO()
    columns = list(dict.fromkeys([*COLUMNS, *itertools.chain.from_iterable(rows)]))
    writer = csv.DictWriter(text, columns, restval="nan", lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    with replacing(path) as temporary:
        temporary.write_text(text.getvalue())


def class_columns(names: Sequence[str], iou: Iterable[float]) -> dict[str, float]:
    """The columns with the IoU of each class; nan where it is absent from truth and prediction."""
    return {f"iou/{name}": float(value) for name, value in zip(names, iou, strict=True)}


def read_log(path: str | PathLike, columns: Sequence[str] | None = COLUMNS) -> list[dict]:
    """The rows of a log.csv with these columns (None: all), as `write_log` took them.

    Raises:
        InputError: the file is missing, has no rows, lacks a column, or holds something that isn't
            a number.
    """
    path = Path(path)
    if not path.is_file():
        raise InputError(f"log {path} is missing: let the run finish an epoch first")
    try:
        with path.open(newline="", encoding="utf-8") as file:
            rows = list(csv.DictReader(file))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise InputError(f"log {path} can't be read ({reason(error)}): restore the file") from error
    if not rows:
        raise InputError(f"log {path} has no rows: let the run finish an epoch first")
    columns = columns or list(rows[0])
    for name in columns:
        if name not in rows[0]:
            raise InputError(f"log {path} lacks the column {name}: it was not written by training")
    try:
        return [{name: _number(row[name]) for name in columns} for row in rows]
    except (AttributeError, TypeError, ValueError) as error:  # AttributeError: a truncated row
        raise InputError(f"log {path} can't be read ({reason(error)}): restore the file") from error


def _number(text: str) -> int | float:
    return int(text) if text.isdecimal() else float(text)
