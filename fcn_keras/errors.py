"""The one exception that bad input raises."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

MAX_MESSAGE = 1000


class InputError(ValueError):
    """Bad input: a file, argument or option that can't be used as given.

    The message is one line that names the file or argument, the value found, and the fix. The
    command-line programs print it after ``error:`` and exit with status 2. Whatever names and
    values from a file it contains, it is printable and at most `MAX_MESSAGE` characters long.
    """

    def __init__(self, message: str):
        text = "".join(c if c.isprintable() else ascii(c)[1:-1] for c in message)
        super().__init__(text if len(text) <= MAX_MESSAGE else f"{text[: MAX_MESSAGE - 4]} ...")


def suggest(name: str, names: Iterable[str]) -> str:
    """What to do about a mistyped name: the one that was meant, or all to choose from."""
    names = list(names)
    close = difflib.get_close_matches(name, names, n=1, cutoff=0.75)
    return f"did you mean {close[0]}?" if close else f"choose from {', '.join(names)}"
