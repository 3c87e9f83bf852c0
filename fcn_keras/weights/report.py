"""The outcome of loading a weights file."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

Shape = tuple[int, ...]


@dataclass(frozen=True)
class LoadReport:
    """Which tensors went where, and which were skipped.

    Attributes:
        path: The file.
        format: What it was recognised as.
        loaded: A row for each variable: name and shape in the file, ``layer/variable``, its shape.
        skipped: Pairs of a name and a reason: layers left as initialised, and tensors not used.
        notes: Sentences on the pixels or the geometry that the weights were trained with.

    As text it is a table.
    """

    path: str
    format: str
    loaded: tuple[tuple[str, Shape, str, Shape], ...]
    skipped: tuple[tuple[str, str], ...]
    notes: tuple[str, ...] = ()

    @property
    def set(self) -> tuple[tuple[str, Shape, str, Shape], ...]:
        """The first release's name for `loaded`."""
        return self.loaded

    @property
    def left(self) -> tuple[tuple[str, str], ...]:
        """The first release's name for `skipped`."""
        return self.skipped

    def summary(self) -> str:
        """A line for what was loaded, and one for each reason why something was skipped."""
        reasons: dict[str, list[str]] = {}
        for name, why in self.skipped:
            reasons.setdefault(why, []).append(name)
        lines = [f"{self.path}: {self.format}, {len(self.loaded)} variables loaded"]
        return "\n".join(
            [*lines, *(f"  {', '.join(names)}: {why}" for why, names in reasons.items())]
        )

    def __str__(self) -> str:
        rows = [(name, show(shape), to, show(there)) for name, shape, to, there in self.loaded]
        lines = [f"{self.path}: {self.format}, {len(self.loaded)} variables loaded", *table(rows)]
        if self.skipped:
            lines += ["", "skipped:", *table(self.skipped)]
        return "\n".join([*lines, *(["", *self.notes] if self.notes else [])])


def show(shape: Shape) -> str:
    """``(3, 3, 3, 64)`` as ``3x3x3x64``."""
    return "x".join(map(str, shape)) or "scalar"


def table(rows: Sequence[tuple[str, ...]]) -> list[str]:
    """The rows as lines of aligned columns."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return [
        "  " + "  ".join(cell.ljust(n) for cell, n in zip(row, widths, strict=True)).rstrip()
        for row in rows
    ]
