"""Translates between arguments, which library messages name, and flags, which users type."""

from __future__ import annotations

import dataclasses
import difflib
import re
import typing
from collections.abc import Iterable, Iterator

# What other programs call an option, and its name here.
FAMOUS = {
    "bs": "batch-size",
    "image-size": "crop-size",
    "img-size": "crop-size",
    "lr": "learning-rate",
    "num-workers": "workers",
    "output": "out",
    "output-dir": "workdir",
    "pretrained": "weights",
    "wd": "weight-decay",
}
# The first release's names, which still work.
FORMER = {
    "--squash": "--resize",
    "--trunk-rate": "--backbone-rate",
    "--trunk-width": "--backbone-width",
}
# Arguments of the library that go by another name on the command line.
RENAMED = {"root": "data_dir", "squash": "resize"}


def fields(options: typing.Any) -> Iterator[str]:
    """Field names of a dataclass, nested ones included, or of all members of a union."""
    for member in typing.get_args(options):
        yield from fields(member)
    if dataclasses.is_dataclass(options):
        types = typing.get_type_hints(options)
        for field in dataclasses.fields(options):
            inside = list(fields(types[field.name]))
            yield from inside or [field.name]


def flags(options: typing.Any) -> list[str]:
    """The options' flags, such as ``--learning-rate``."""
    return [_flag(name) for name in fields(options)]


def _flag(name: str) -> str:
    return "--" + name.rstrip("_").replace("_", "-")


def renew(arguments: Iterable[str]) -> list[str]:
    """The command line with the first release's flags renamed to today's."""
    words = [argument.partition("=") for argument in arguments]
    return [FORMER.get(name, name) + sign + value for name, sign, value in words]


def nearest(flag: str, choices: Iterable[str]) -> str | None:
    """The flag that was probably meant; None if none is close.

    >>> nearest("--lr", ["--learning-rate", "--seed"]), nearest("--sed", ["--seed"])
    ('--learning-rate', '--seed')
    """
    choices, name = list(choices), flag.lstrip("-").replace("_", "-")
    famous = f"--{FAMOUS.get(name, name)}"
    if famous in choices:
        return famous
    return next(iter(difflib.get_close_matches(f"--{name}", choices, n=1)), None)


def name_flags(message: str, options: typing.Any) -> str:
    """A library's message with flags where it names arguments that are options.

    ``crop_size=0`` becomes ``--crop-size 0``, ``resume=True`` becomes ``--resume``, and
    `` `learning_rate` `` becomes ``--learning-rate``.
    """
    known = set(fields(options))
    known |= {name for name, option in RENAMED.items() if option in known}

    def replace(match: re.Match) -> str:
        quoted, name, value = match.groups()
        if (quoted or name) not in known:
            return match[0]
        flag = _flag(RENAMED.get(quoted or name, quoted or name))
        return flag if quoted or value == "True" else f"{flag} {value}"

    return re.sub(r"`(\w+)`|(?<![\w./-])(\w+)=(True\b|(?=\S))", replace, message)
