"""From the labels of annotations to the classes of a data set."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path

from fcn_keras.data.annotations.annotated import BACKGROUND, IGNORE, Annotations, Color
from fcn_keras.data.annotations.names import Unlabelled
from fcn_keras.data.class_list import parse_class, without_comment
from fcn_keras.data.classes import VOID, ClassTable, voc_color_map
from fcn_keras.data.voc import read_lines
from fcn_keras.errors import InputError, suggest

_OWN = {"_background_": BACKGROUND, "__ignore__": IGNORE, "_ignore_": IGNORE}  # labelme's


@dataclass(frozen=True)
class ClassMap:
    """The classes of the masks.

    Attributes:
        classes: Names and colours.
        ids: The class id of each label of the annotations; 255 for void. Others are left out.
        unlabelled: What pixels outside of all objects hold.
    """

    classes: ClassTable
    ids: Mapping[str, int]
    unlabelled: int


def class_map(found: Annotations, path: Path | None, unlabelled: Unlabelled) -> ClassMap:
    """The classes that the file `path` defines, or else one for each label in the source's order.

    A line of the file is like one of `classes.txt`, and may continue with the labels that belong to
    the class: ``vehicle 0 0 142 = car, truck``. Without them, the label of the same name does. The
    line ``void = ...`` names labels whose pixels are void. Labels on no line are left out.

    Pixels outside of all objects, unless they are void, belong to the class that has the label
    "background"; without such a class, "background" is added as the first.

    Raises:
        InputError: a line can't be understood, or names a label that doesn't occur.
    """
    labels = tuple(dict.fromkeys(_OWN.get(label, label) for label in found.labels))
    merged, colors = _written(path, labels) if path else ({label: [label] for label in labels}, {})
    if not path:
        colors = {label: found.colors[label] for label in labels if label in found.colors}
    void = merged.pop(IGNORE, [])
    taken = {label for own in merged.values() for label in own}
    if unlabelled == "background" and BACKGROUND not in taken:
        merged = {BACKGROUND: [BACKGROUND], **merged}
        colors = {BACKGROUND: (0, 0, 0), **colors} if colors else {}
    elif not path and BACKGROUND in merged:
        merged = {BACKGROUND: merged.pop(BACKGROUND), **merged}
    if not merged:
        raise InputError("the annotations have no labels, and so there are no classes")
    names = tuple(merged)
    numbers = {label: index for index, name in enumerate(names) for label in merged[name]}
    numbers |= {label: VOID for label in (IGNORE, *void)}
    numbers |= {own: numbers[label] for own, label in _OWN.items() if label in numbers}
    rest = numbers[BACKGROUND] if unlabelled == "background" else VOID
    return ClassMap(ClassTable("annotations", names, _colors(names, colors)), numbers, rest)


def _written(path: Path, labels: Collection[str]) -> tuple[dict[str, list[str]], dict[str, Color]]:
    """The labels of each class, and the classes' colours, that a file gives."""
    if not path.is_file():
        raise InputError(f"class list {path} does not exist; write one class a line")
    merged: dict[str, list[str]] = {}
    colors: dict[str, Color] = {}
    known = tuple(dict.fromkeys([*labels, BACKGROUND, IGNORE]))
    for number, line in enumerate(read_lines(path), 1):
        if not (text := without_comment(line)):
            continue
        text, sign, sources = text.partition("=")
        where = f"class list {path} line {number}"
        try:
            name, color = parse_class(text.strip(), len(merged))
        except ValueError as error:
            raise InputError(f"{where} is {line!r:.60}; {error}") from None
        if name in merged:
            raise InputError(f"{where} repeats class {name}; write it once")
        own = [word.strip() for word in sources.split(",") if word.strip()] if sign else [name]
        own = [_OWN.get(label, label) for label in own]
        taken = {label for others in merged.values() for label in others}
        for label in own:
            if label not in known:
                raise InputError(
                    f"{where} takes label {label}, which no annotation has; "
                    f"{suggest(label, known)} (`{name} =` is a class without labels)"
                )
            if label in taken:
                raise InputError(f"{where} takes label {label}, as another line does; keep one")
        merged[name] = own
        if color:
            colors[name] = color
    if not merged:
        raise InputError(f"class list {path} is empty; write one class a line")
    return merged, colors


def _colors(names: tuple[str, ...], given: dict[str, Color]) -> tuple[Color, ...]:
    """The given ones if all classes have one and they differ, or else VOC's colour map."""
    chosen = [given[name] for name in names if name in given]
    if len(chosen) == len(names) == len(set(chosen)):
        return tuple(chosen)
    red_green_blue = voc_color_map()[: len(names)].tolist()
    return tuple((r, g, b) for r, g, b in red_green_blue)
