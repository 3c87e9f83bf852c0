"""A self-contained HTML page, whose pictures are also kept as PNGs beside it."""

from __future__ import annotations

import base64
import io
from collections import Counter
from collections.abc import Sequence
from html import escape
from pathlib import Path

import numpy as np
from PIL import Image

from fcn_keras.data.classes import VOID_COLOR, ClassTable
from fcn_keras.storage import replacing

GAP = 6  # pixels between pictures of a row

STYLE = """
body { font: 15px/1.45 system-ui, sans-serif; max-width: 1100px; margin: 2em auto; padding: 0 1em;
       color: #222; }
h1 { font-size: 1.5em; } h2 { font-size: 1.2em; margin-top: 2em; border-bottom: 1px solid #ccc; }
table { border-collapse: collapse; margin: 1em 0; }
th, td { padding: 2px 12px; border-bottom: 1px solid #eee; text-align: right; }
th:first-child, td:first-child, .text { text-align: left; }
img { max-width: 100%; }
figure { margin: 1em 0; } figcaption { font-size: 0.9em; color: #555; }
.swatch { display: inline-block; width: 0.9em; height: 0.9em; border: 1px solid #555;
          margin-right: 0.4em; }
.legend span { margin-right: 1em; white-space: nowrap; }
.row { display: flex; gap: 6px; } .row div { flex: 1; font-size: 0.85em; }
"""


class Page:
    """Gathers a page's parts in order.

    Args:
        title: The page's title.
        folder: Where its pictures are kept.
    """

    def __init__(self, title: str, folder: Path):
        self.title, self.folder = title, folder
        self._parts: list[str] = []
        self._numbers: Counter[str] = Counter()

    def number(self, kind: str) -> int:
        """1, 2, 3 and so on, for each kind."""
        self._numbers[kind] += 1
        return self._numbers[kind]

    def heading(self, text: str) -> None:
        """Begins a section."""
        self._parts.append(f"<h2>{escape(text)}</h2>")

    def text(self, text: str) -> None:
        """Adds a paragraph."""
        self._parts.append(f"<p>{escape(text)}</p>")

    def table(
        self,
        header: Sequence[str],
        rows: Sequence[Sequence[str]],
        colors: Sequence[tuple[int, int, int]] = (),
    ) -> None:
        """Adds a table, its rows marked with `colors` if they are given."""
        below = rows[0] if rows else header
        titles = zip(header, map(_kind, below), strict=True)
        lines = ["".join(f"<th{kind}>{escape(title)}</th>" for title, kind in titles)]
        for number, row in enumerate(rows):
            cells = [f"<td{_kind(cell)}>{escape(cell)}</td>" for cell in row]
            if colors:
                cells[0] = f"<td>{_swatch(colors[number])}{escape(row[0])}</td>"
            lines.append("".join(cells))
        self._parts.append(f"<table>{''.join(f'<tr>{line}</tr>' for line in lines)}</table>")

    def legend(self, classes: ClassTable) -> None:
        """Adds the classes' colours."""
        pairs = [*zip(classes.names, classes.colors, strict=True), ("void", VOID_COLOR)]
        spans = "".join(f"<span>{_swatch(c)}{escape(name)}</span> " for name, c in pairs)
        self._parts.append(f'<p class="legend">{spans}</p>')

    def picture(self, name: str, png: bytes) -> None:
        """Adds a picture, which is kept as the file `name`."""
        self._parts.append(f"<figure>{self._image(name, png)}</figure>")

    def row(self, caption: str, name: str, pictures: Sequence[tuple[str, np.ndarray]]) -> None:
        """Adds pictures of one size, uint8 ``(h, w, 3)``, side by side under their words.

        They are kept as one file `name`.
        """
        labels = "".join(f"<div>{escape(text)}</div>" for text, _ in pictures)
        arrays = [
            np.pad(one, ((0, 0), (0, GAP), (0, 0)), constant_values=255) for _, one in pictures
        ]
        buffer = io.BytesIO()
        Image.fromarray(np.concatenate(arrays, axis=1)[:, :-GAP]).save(buffer, "PNG")
        image = self._image(name, buffer.getvalue())
        self._parts.append(
            f"<figure><figcaption>{escape(caption)}</figcaption>"
            f'<div class="row">{labels}</div>{image}</figure>'
        )

    def html(self) -> str:
        """The whole page."""
        return (
            f'<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8">'
            f"<title>{escape(self.title)}</title><style>{STYLE}</style></head>\n"
            f"<body><h1>{escape(self.title)}</h1>\n" + "\n".join(self._parts) + "\n</body></html>\n"
        )

    def _image(self, name: str, png: bytes) -> str:
        with replacing(self.folder / name) as draft:
            draft.write_bytes(png)
        data = base64.b64encode(png).decode()
        return f'<img alt="{escape(name)}" src="data:image/png;base64,{data}">'


def _kind(text: str) -> str:
    """Numbers stand at the right, everything else at the left."""
    number = text.replace(".", "").replace("+", "").replace("-", "")
    return "" if number.isdecimal() or text == "-" else ' class="text"'


def _swatch(color: tuple[int, int, int]) -> str:
    red, green, blue = color
    return f'<span class="swatch" style="background: rgb({red}, {green}, {blue})"></span>'
