"""What every reader of annotation files returns: photos with the areas drawn on them."""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from fcn_keras.data.annotations.areas import Area, Size
from fcn_keras.data.folder import IMAGE_SUFFIXES
from fcn_keras.data.images import exif_orientation, read_size
from fcn_keras.errors import InputError

Color = tuple[int, int, int]

BACKGROUND, IGNORE = "background", "void"
"""Labels that every format may use, for the rest of a photo and for pixels without any class."""


@dataclass(frozen=True)
class Region:
    """An object: what it is called, and its pixels.

    Attributes:
        label: The name that the annotation gives it.
        draw: Returns bool ``(H, W)``.
        layer: Objects of higher layers lie on top, whatever else decides.
        crowd: Whether it is a rough area around many objects (COCO's ``iscrowd``).
    """

    label: str
    draw: Area
    layer: int = 0
    crowd: bool = False


@dataclass(frozen=True)
class Annotated:
    """A photo and what was drawn on it, in the order of the file.

    Attributes:
        name: Path of the outputs below their folders, without extension.
        photo: The photo's file.
        size: Height and width in pixels.
        regions: The objects.
        split: train, val or another one, if the source says.
    """

    name: str
    photo: Path
    size: Size
    regions: tuple[Region, ...]
    split: str | None = None


@dataclass
class Annotations:
    """Everything in a source.

    Attributes:
        labels: The names of objects in the source's own order.
        photos: The photos.
        colors: RGB of labels, where the source has some.
        skipped: What is left out because it has no area, and how often.
    """

    labels: tuple[str, ...]
    photos: list[Annotated]
    colors: dict[str, Color] = field(default_factory=dict)
    skipped: Counter[str] = field(default_factory=Counter)


class PhotoFinder:
    """Finds photos by the names in annotation files, in folders and their subfolders.

    Args:
        folders: Where to look, the most likely first.
        endings: Whether the names have extensions.
    """

    def __init__(self, folders: Iterable[Path], *, endings: bool = True):
        self.folders = [folder for folder in dict.fromkeys(folders) if folder.is_dir()]
        self.endings = endings
        self._below: dict[str, list[Path]] | None = None

    def find(self, name: str, where: str) -> Path:
        """The photo of this name.

        Raises:
            InputError: there is none, or several, of the name.
        """
        wanted = Path(name.replace("\\", "/"))  # of a file from Windows
        for folder in self.folders:
            with contextlib.suppress(OSError):  # too long for a name
                if not wanted.is_absolute() and (folder / wanted).is_file():
                    return folder / wanted
        found = self._all().get(wanted.name, [])
        if len(found) > 1:
            ends = wanted.parts
            found = [
                path for path in found if self._named(path).parts[-len(ends) :] == ends
            ] or found
        if len(found) == 1:
            return found[0]
        if found:
            raise InputError(
                f"{where} is about photo {name}, and both {found[0]} and {found[1]} have this "
                "name; rename one, or give the folder of the photos as `images`"
            )
        looked = ", ".join(map(str, self.folders))
        raise InputError(
            f"{where} is about photo {name}, which is not in {looked}; give the folder of the "
            "photos as `images`"
        )

    def _all(self) -> dict[str, list[Path]]:
        if self._below is None:
            self._below = {}
            for path in dict.fromkeys(p for folder in self.folders for p in photos_below(folder)):
                self._below.setdefault(self._named(path).name, []).append(path)
        return self._below

    def _named(self, path: Path) -> Path:
        return path if self.endings else path.with_suffix("")


def output_name(name: str) -> str:
    """A photo's name without extension, with its folders if they are below the current one.

    >>> output_name("day 1/a.jpg"), output_name("C:/photos/a.jpg"), output_name("../a.jpg")
    ('day 1/a', 'a', 'a')
    """
    path = PurePosixPath(name.replace("\\", "/")).with_suffix("")
    inside = not path.is_absolute() and ".." not in path.parts and ":" not in path.parts[0]
    return str(path) if inside else path.name


def photos_below(folder: Path) -> list[Path]:
    """All files below a folder that look like photos, in order."""
    return [path for path in sorted(folder.rglob("*")) if path.suffix.lower() in IMAGE_SUFFIXES]


def require_size(photo: Path, size: Size, where: str) -> None:
    """Compares the size that an annotation gives with the photo's, upright.

    Raises:
        InputError: they differ, or the photo can't be read.
    """
    found = read_size(photo)
    if found == size:
        return
    turned = found == size[::-1] and exif_orientation(photo) >= 5
    fix = (
        "it is turned by its EXIF orientation, which the annotation leaves out: save the photo "
        "upright and annotate it again"
        if turned
        else "annotate this very photo"
    )
    raise InputError(
        f"{where} is about {size[1]} x {size[0]} pixels, but photo {photo} has "
        f"{found[1]} x {found[0]}; {fix}"
    )
