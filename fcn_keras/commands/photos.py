"""Finds the photos and videos that a command line names, and where their results go."""

from __future__ import annotations

import glob
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote, urlsplit

from fcn_keras.data.folder import IMAGE_SUFFIXES
from fcn_keras.errors import InputError

VIDEO_SUFFIXES = (".mp4", ".avi", ".mov", ".mkv", ".webm", ".m4v")
SUFFIXES = (*IMAGE_SUFFIXES, *VIDEO_SUFFIXES)


@dataclass(frozen=True)
class Item:
    """A photo or video.

    Attributes:
        source: Its path, or its http(s) address.
        name: The path of its results in the output folder, without extension.
    """

    source: str | Path
    name: Path

    @property
    def is_video(self) -> bool:
        """Whether its extension is a video's."""
        return self.source_name.lower().endswith(VIDEO_SUFFIXES)

    @property
    def source_name(self) -> str:
        """The source as text."""
        return str(self.source)


def find(words: Iterable[str], out: Path) -> list[Item]:
    """The named files, those in named folders and their subfolders, and addresses.

    Files in `out` are left out, since an earlier run may have written them.

    Raises:
        InputError: nothing is named, a folder or pattern has no photos, or a result would overwrite
            a photo or another's result.
    """
    items = [item for word in words for item in _find(word, out)]
    if not items:
        raise InputError("no image is given: name photos, folders of photos, videos or addresses")
    _check(items, out)
    return items


def shard(items: Sequence[Item], which: str | None) -> Sequence[Item]:
    """The share of one of several machines: ``3/8`` is the third of eight, every eighth item.

    Raises:
        InputError: `which` is not of that form.
    """
    if which is None:
        return items
    number, slash, count = which.partition("/")
    if not (slash and number.isdecimal() and count.isdecimal() and 1 <= int(number) <= int(count)):
        raise InputError(f"shard={which} is not possible: 3/8 is the third of eight shares")
    return items[int(number) - 1 :: int(count)]


def _find(word: str, out: Path) -> list[Item]:
    if word.startswith(("http://", "https://")):
        return [Item(word, Path(Path(unquote(urlsplit(word).path)).stem or "photo"))]
    path = Path(word)
    if path.is_dir():
        return _inside(path, out)
    if not path.exists() and glob.has_magic(word):
        found = [Path(name) for name in sorted(glob.glob(word, recursive=True))]
        items = [Item(p, Path(p.stem)) for p in found if p.suffix.lower() in SUFFIXES]
        if not items:
            raise InputError(f"pattern {word} matches no photos")
        return items
    return [Item(path, Path(path.stem))]


def _inside(folder: Path, out: Path) -> list[Item]:
    own = out.resolve()
    found = sorted(path for path in folder.rglob("*") if path.suffix.lower() in SUFFIXES)
    hidden = [any(p.startswith(".") for p in path.relative_to(folder).parts) for path in found]
    found = [path for path, is_hidden in zip(found, hidden, strict=True) if not is_hidden]
    if own != folder.resolve():
        found = [path for path in found if own not in path.resolve().parents]
    if not found:
        raise InputError(f"folder {folder} has no photos ({', '.join(SUFFIXES)})")
    return [Item(path, path.relative_to(folder).with_suffix("")) for path in found]


def _check(items: Iterable[Item], out: Path) -> None:
    results: dict[Path, Item] = {}
    for item in items:
        if isinstance(item.source, Path) and item.source.parent.resolve() == (
            (out / item.name).parent.resolve()
        ):
            raise InputError(
                f"--out {out} is the folder of image {item.source.name}: name another folder"
            )
        other = results.setdefault(item.name, item)
        if other.source != item.source:
            raise InputError(
                f"images {other.source} and {item.source} would both become {item.name}.png: "
                "predict them into different folders"
            )
