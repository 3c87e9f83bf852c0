"""Reads `classes.txt`, in the various ways that people write it."""

from __future__ import annotations

import re
from pathlib import Path

from fcn_keras.data.classes import ClassTable, voc_color_map
from fcn_keras.errors import InputError

Color = tuple[int, int, int]

_COMMENT = re.compile(r"(^|\s)#(?![0-9a-fA-F]{6}\b).*")
_NUMBER = re.compile(r"(\d+)(\s*[:=.)]\s*|[\s,;]+)(?=.*[^\W\d])")
_HEX = re.compile(r"#([0-9a-fA-F]{6})")


def read_classes(path: Path) -> tuple[ClassTable, bool]:
    """Reads a list of classes, one a line, in the order of their ids.

    A line is a name, or a name and a colour: `sky 128 128 128`, `sky,128,128,128`, `sky #808080`
    or `128 128 128 sky`. It may start with the class id (`0: sky`), and `# ` starts a comment.

    Returns:
        The table, and whether the file gives the colours (if not, they are VOC's colour map).

    Raises:
        InputError: the file is missing, empty or not UTF-8, a line can't be understood, a name or
            a colour is repeated, or only some classes have colours.
    """
    if not path.is_file():
        raise InputError(f"class list {path} does not exist; write one class a line")
    try:
        lines = path.read_text("utf-8-sig").splitlines()
    except UnicodeDecodeError as error:
        raise InputError(f"class list {path} is not UTF-8 text; save it as UTF-8") from error
    names: list[str] = []
    colors: list[Color | None] = []
    where: list[int] = []  # line numbers
    for number, line in enumerate(lines, 1):
        if not (text := without_comment(line)):
            continue
        try:
            name, color = parse_class(text, len(names))
        except ValueError as error:
            raise InputError(f"class list {path} line {number} is {text!r}; {error}") from None
        names.append(name)
        colors.append(color)
        where.append(number)
    if not names:
        raise InputError(f"class list {path} is empty; write one class a line")
    given = [color for color in colors if color is not None]
    if given and len(given) != len(names):
        raise InputError(
            f"class list {path} gives {len(given)} colours for {len(names)} classes; write "
            f"`name red green blue` (0..255) on every line or on none (line "
            f"{where[colors.index(None)]} has none)"
        )
    if len(set(given)) != len(given) or len(set(names)) != len(names):
        raise InputError(f"class list {path} repeats a name or a colour; make them differ")
    default = tuple(tuple(color) for color in voc_color_map()[: len(names)].tolist())
    return ClassTable(path.parent.name, tuple(names), tuple(given) or default), bool(given)


def without_comment(line: str) -> str:
    """The line without its comment."""
    return _COMMENT.sub("", line).strip()


def parse_class(text: str, index: int) -> tuple[str, Color | None]:
    """The name and the colour in a line, without comment, of class number `index`.

    Raises:
        ValueError: what is wrong with it.
    """
    if match := _NUMBER.match(text):
        written, sign = int(match[1]), match[2].strip()
        if written == index:
            text = text[match.end() :]
        elif sign and sign not in ",;":
            raise ValueError(f"class ids count from 0 in the order of the lines: this is {index}")
    words = [word for word in re.split(r"[\s,;]+", text) if word]
    for start in (len(words) - 1, 0):
        if words and (match := _HEX.fullmatch(words[start])):
            del words[start]
            red, green, blue = bytes.fromhex(match[1])
            return _name(words), (red, green, blue)
    for three in (slice(-3, None), slice(0, 3)):
        if len(words) > 3 and all(word.isdecimal() for word in words[three]):
            red, green, blue = map(int, words[three])
            if max(red, green, blue) > 255:
                raise ValueError("a colour is three numbers from 0 to 255")
            del words[three]
            return _name(words), (red, green, blue)
    return _name(words), None


def _name(words: list[str]) -> str:
    name = " ".join(words).strip("\"':")
    if not name or all(word.isdecimal() for word in words):
        raise ValueError("write `name` or `name red green blue`")
    return name
