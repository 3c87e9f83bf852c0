"""What a model knows about itself: its classes and its origin.

It is kept in the configuration of the model's last layer, so `model.save`, `load_model`,
`clone_model` and every backend keep it, even where the model is a part of another.
"""

from __future__ import annotations

import importlib.metadata
import json
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import keras

from fcn_keras.data.classes import VOID, ClassTable
from fcn_keras.errors import InputError
from fcn_keras.models.layers import Crop

ORIGIN = ("recipe", "dataset", "split", "commit", "version")

# What parsing arbitrary text can raise.
_DAMAGE = (AttributeError, LookupError, OverflowError, RecursionError, TypeError, ValueError)


@dataclass(frozen=True, kw_only=True)
class ModelInfo:
    """A model's classes and origin.

    Attributes:
        classes: Names and colours of the scores, in their order.
        named: Whether the model knows its classes; otherwise they are numbered.
        recipe: Name of the settings that it was trained with.
        dataset: What it was trained on.
        split: The part of the data set that `scores` is from.
        commit: Commit of the source tree that trained it.
        version: Version of the package that trained it.
        max_side: Photos with a longer side of more pixels are scaled down to it, as in training;
            None leaves photos as they are.
        scores: Scores between 0 and 1, such as ``mean_iou``, by name.
    """

    classes: ClassTable
    named: bool = True
    recipe: str | None = None
    dataset: str | None = None
    split: str | None = None
    commit: str | None = None
    version: str | None = None
    max_side: int | None = None
    scores: Mapping[str, float] = field(default_factory=dict)


def annotate(model: keras.Model, info: ModelInfo) -> None:
    """Makes `info` part of the model, in place of any earlier one.

    Raises:
        InputError: it has another number of classes than the model, or the model is none of
            `fcn8s`, `fcn16s` or `fcn32s`.
    """
    if len(info.classes) != model.output_shape[-1]:
        raise InputError(
            f"info has {len(info.classes)} classes, but model {model.name} has "
            f"{model.output_shape[-1]}"
        )
    layers = [layer for layer in _crops(model) if layer.name == "crop"]
    if not layers:
        raise InputError(f"model {model.name!r} holds no model of fcn8s, fcn16s or fcn32s")
    text = to_json(info)
    from_json(text, "info")  # refuses what couldn't be read back
    layers[-1].info = text


def describe(model: keras.Model) -> ModelInfo:
    """What the model knows about itself; numbered classes if it knows nothing.

    A model that extends one of ours to another number of classes knows nothing about them.

    >>> from fcn_keras.models import fcn32s
    >>> info = describe(fcn32s(2, backbone_width=1, head_width=1))
    >>> info.named, info.classes.names
    (False, ('class 0', 'class 1'))

    Raises:
        InputError: what the model's file says about it can't be read.
    """
    count = model.output_shape[-1]
    texts = [layer.info for layer in _crops(model) if layer.info is not None]
    info = from_json(texts[-1], f"model {model.name}") if texts else None
    if info is None or len(info.classes) != count:
        return ModelInfo(classes=ClassTable.numbered(count), named=False)
    return info


def max_side_of(model: keras.Model, given: int | None) -> int:
    """The longest side, in pixels, at which `model` is to see a photo; 0 if any is fine.

    Args:
        model: Says it, if `given` is None.
        given: What the user said.

    Raises:
        InputError: `given` is negative.
    """
    if given is not None and given < 0:
        raise InputError(
            f"max_side={given} is not possible: give pixels, or 0 to leave photos as they are"
        )
    return describe(model).max_side or 0 if given is None else given


def package_version() -> str | None:
    """The version of this package; None if it is not installed."""
    try:
        return importlib.metadata.version("fcn-keras")
    except importlib.metadata.PackageNotFoundError:
        return None


def to_json(info: ModelInfo) -> str:
    """`info` as the text that files hold."""
    table = info.classes
    classes = {"name": table.name, "names": table.names, "colors": table.colors, "void": VOID}
    origin = {name: getattr(info, name) for name in ORIGIN}
    scores = {name: value for name, value in info.scores.items() if math.isfinite(value)}
    record = {"classes": classes, **origin, "max_side": info.max_side, "scores": scores}
    return json.dumps(record)


def from_json(text: str, owner: str) -> ModelInfo:
    """The inverse of `to_json`, for text from any source.

    Raises:
        InputError: the text is not what `to_json` writes. The message calls the model `owner`.
    """
    try:
        record = json.loads(text)
        classes = record["classes"]
        table = ClassTable(
            _text(classes["name"]),
            tuple(_text(name) for name in classes["names"]),
            tuple(_color(color) for color in classes["colors"]),
        )
        if classes["void"] != VOID:
            raise ValueError(f"void is {classes['void']!r} in place of {VOID}")
        origin: dict[str, Any] = {
            name: _text(record[name]) for name in ORIGIN if record[name] is not None
        }
        max_side = record.get("max_side")  # files of earlier versions have none
        if max_side is not None and not (type(max_side) is int and max_side > 0):
            raise ValueError(f"max_side is {max_side!r}, not a number of pixels")
        scores = {_text(name): float(value) for name, value in record["scores"].items()}
    except _DAMAGE as error:
        raise InputError(f"{owner} has damaged class names or origin ({error!r:.200})") from error
    return ModelInfo(classes=table, **origin, max_side=max_side, scores=scores)


def _text(value: Any) -> str:
    if not isinstance(value, str) or not value.isprintable() or len(value) > 200:
        raise ValueError("a name is not a short printable text")
    return value


def _color(value: Any) -> tuple[int, int, int]:
    red, green, blue = value
    if not all(type(part) is int and 0 <= part <= 255 for part in (red, green, blue)):
        raise ValueError("a colour is not three numbers from 0 to 255")
    return red, green, blue


def _crops(model: keras.Model) -> Iterator[Crop]:
    """The `Crop` layers of a model and of the models in it, in order."""
    for layer in model.layers:
        if isinstance(layer, keras.Model):
            yield from _crops(layer)
        elif isinstance(layer, Crop):
            yield layer
