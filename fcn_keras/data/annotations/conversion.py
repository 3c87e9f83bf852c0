"""Writes annotated photos as a data folder: `images/`, `masks/` and `classes.txt`."""

from __future__ import annotations

import filecmp
import os
import shutil
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from PIL import Image

from fcn_keras.data.annotations.annotated import Annotated, Annotations, Region
from fcn_keras.data.annotations.coco import read_coco
from fcn_keras.data.annotations.cvat import read_cvat
from fcn_keras.data.annotations.labelme import read_labelme
from fcn_keras.data.annotations.mapping import ClassMap, class_map
from fcn_keras.data.annotations.names import Crowd, Format, Overlap, Unlabelled
from fcn_keras.data.annotations.voc import read_voc
from fcn_keras.data.annotations.yolo import read_yolo
from fcn_keras.data.class_list import parse_class
from fcn_keras.data.classes import VOID, ClassTable
from fcn_keras.errors import InputError
from fcn_keras.storage import replacing

Reader = Callable[[Path, Path | None], Annotations]
# Each with the object that is on top where two overlap: labelme and CVAT show the later one on top,
# COCO's and YOLO's own tools the smaller one.
FORMATS: dict[Format, tuple[Reader, Overlap]] = {
    "labelme": (read_labelme, "later"),
    "coco": (read_coco, "smaller"),
    "cvat": (read_cvat, "later"),
    "yolo": (read_yolo, "smaller"),
    "voc": (read_voc, "later"),
}
SPLITS = ("train", "val", "test")


@dataclass
class Conversion:
    """What `convert` did.

    Attributes:
        classes: The classes of the masks.
        photos: Photos that have a mask now.
        objects: Objects of each class, by name.
        overlap: What lies on top.
        left_out: Objects that belong to no class, by label.
        skipped: What was left out for having no area, in words, and how often.
        empty: Photos without an object; if unlabelled pixels are void, they are left out.
        kept: Existing files with other contents, which were kept.
    """

    classes: ClassTable
    overlap: Overlap
    photos: int = 0
    objects: Counter[str] = field(default_factory=Counter)
    left_out: Counter[str] = field(default_factory=Counter)
    skipped: Counter[str] = field(default_factory=Counter)
    empty: list[str] = field(default_factory=list)
    kept: list[Path] = field(default_factory=list)


def convert(
    source: str | Path,
    out: str | Path,
    format: Format,
    *,
    images: str | Path | None = None,
    classes: str | Path | None = None,
    unlabelled: Unlabelled = "background",
    overlap: Overlap | None = None,
    crowd: Crowd = "class",
    link: bool = False,
    overwrite: bool = False,
    progress: Callable[[int, int], None] | None = None,
) -> Conversion:
    """Turns annotation files into a folder that `open_dataset` reads as "folder".

    All annotations are read and checked before the first file is written, and each file is whole
    or absent. Run again, it writes what is missing.

    Args:
        source: The annotation file or folder.
        out: The folder to write; it may exist.
        format: The program whose files they are.
        images: Where the photos are, if not near the annotations.
        classes: A file that chooses, merges and colours classes (`mapping.class_map`).
        unlabelled: What pixels outside of all objects become.
        overlap: Which of two objects is on top: the later in the file or the smaller. Default:
            the later for labelme and CVAT, the smaller for COCO and YOLO. Layers take precedence.
        crowd: What COCO's crowd areas become: their class, below all other objects, or void.
        link: Link to the photos rather than copy them.
        overwrite: Replace existing files whose contents differ; otherwise they are kept.
        progress: Called with the photos done and their total.

    Raises:
        InputError: an annotation can't be used, or `out` has other classes.
        SaveError: a file can't be written.
    """
    source, out = Path(source).expanduser(), Path(out).expanduser()
    if not source.exists():
        raise InputError(f"source {source} does not exist; name the annotation file or folder")
    read, own_overlap = FORMATS[format]
    found = read(source, Path(images).expanduser() if images else None)
    chosen = class_map(found, Path(classes) if classes else None, unlabelled)
    _require_distinct(found.photos)
    writer = _Writer(out, overwrite)
    writer.classes(chosen.classes)
    report = Conversion(chosen.classes, overlap or own_overlap, skipped=found.skipped)
    photos = []
    for done, photo in enumerate(found.photos, 1):
        mask = paint(photo, chosen, report.overlap, crowd)
        _count(photo, chosen, report)
        if unlabelled == "background" or (mask != VOID).any():
            writer.photo(photo, link)
            writer.mask(photo.name, mask, chosen.classes)
            photos.append(photo)
        if progress:
            progress(done, len(found.photos))
    writer.splits(photos)
    report.photos, report.kept = len(photos), writer.kept
    return report


def paint(photo: Annotated, chosen: ClassMap, overlap: Overlap, crowd: Crowd) -> np.ndarray:
    """The mask of a photo: class ids uint8 ``(H, W)``, 255 = void."""

    def height(region: Region) -> tuple[bool, int, int]:
        area = int(region.draw().sum()) if overlap == "smaller" and not region.crowd else 0
        return not region.crowd, region.layer, -area

    mask = np.full(photo.size, chosen.unlabelled, np.uint8)
    for region in sorted((r for r in photo.regions if r.label in chosen.ids), key=height):
        void = region.crowd and crowd == "void"
        mask[region.draw()] = VOID if void else chosen.ids[region.label]
    return mask


def _require_distinct(photos: list[Annotated]) -> None:
    seen: dict[str, Path] = {}
    for photo in photos:
        if (other := seen.setdefault(photo.name, photo.photo)) is not photo.photo:
            raise InputError(
                f"photos {other} and {photo.photo} would both be {photo.name} in the data folder; "
                "rename one, and its annotation"
            )


def _count(photo: Annotated, chosen: ClassMap, report: Conversion) -> None:
    before = report.objects.total()
    for region in photo.regions:
        number = chosen.ids.get(region.label)
        if number is None:
            report.left_out[region.label] += 1
        else:
            report.objects["void" if number == VOID else chosen.classes.names[number]] += 1
    if report.objects.total() == before:
        report.empty.append(photo.name)


class _Writer:
    """Writes files into a data folder, and notes existing ones that differ and are kept."""

    def __init__(self, out: Path, overwrite: bool):
        self.out, self.overwrite = out, overwrite
        self.kept: list[Path] = []

    def classes(self, classes: ClassTable) -> None:
        """Writes classes.txt.

        Raises:
            InputError: there is one with other classes, or a name can't stand in it.
        """
        lines = []
        for index, (name, color) in enumerate(zip(classes.names, classes.colors, strict=True)):
            line = " ".join([name, *map(str, color)])
            if name.splitlines() != [name] or _parsed(line, index) != (name, color):
                raise InputError(
                    f"label {name!r} can't be a class name; give it another in a class list, as in "
                    f"`name = {name}`"
                )
            lines.append(f"{line}\n")
        path, text = self.out / "classes.txt", "".join(lines)
        if not self.overwrite and path.exists() and path.read_text("utf-8-sig") != text:
            raise InputError(
                f"{path} has other classes than these annotations, {', '.join(classes.names)}; "
                "write to another folder, or set overwrite=True"
            )
        self._text(path, text)

    def photo(self, photo: Annotated, link: bool) -> None:
        """Copies or links a photo."""
        path = self.out / "images" / f"{photo.name}{photo.photo.suffix}"
        if path.exists() and filecmp.cmp(photo.photo, path):
            return
        if self._may_write(path):
            with replacing(path) as draft:
                if link:
                    draft.symlink_to(photo.photo.resolve())
                else:
                    shutil.copy2(photo.photo, draft)

    def mask(self, name: str, mask: np.ndarray, classes: ClassTable) -> None:
        """Writes a palette PNG."""
        path = self.out / "masks" / f"{name}.png"
        if path.exists() and _holds(path, mask, classes):
            return
        if self._may_write(path):
            picture = Image.fromarray(mask)
            picture.putpalette(classes.palette.tobytes())
            with replacing(path) as draft:
                picture.save(draft)

    def splits(self, photos: list[Annotated]) -> None:
        """Writes the lists of splits, if every photo has one and there are train and val."""
        names = {split: [p.name for p in photos if p.split == split] for split in SPLITS}
        if sum(map(len, names.values())) == len(photos) and names["train"] and names["val"]:
            for split, chosen in names.items():
                if chosen:
                    self._text(self.out / f"{split}.txt", "".join(f"{n}\n" for n in chosen))

    def _text(self, path: Path, text: str) -> None:
        if path.exists() and path.read_bytes() == text.encode():
            return
        if self._may_write(path):
            with replacing(path) as draft:
                draft.write_text(text, "utf-8")

    def _may_write(self, path: Path) -> bool:
        """Makes the folder; False if the file is there and must stay."""
        if os.path.lexists(path) and not self.overwrite:
            self.kept.append(path)
            return False
        path.parent.mkdir(parents=True, exist_ok=True)
        return True


def _parsed(line: str, index: int) -> object:
    try:
        return parse_class(line, index)
    except ValueError:
        return None


def _holds(path: Path, mask: np.ndarray, classes: ClassTable) -> bool:
    """Whether a mask file has these pixels in these colours."""
    try:
        with Image.open(path) as picture:
            palette = bytes(picture.getpalette() or b"")
            same_colors = classes.palette.tobytes().startswith(palette)
            return picture.mode == "P" and same_colors and np.array_equal(np.array(picture), mask)
    except (OSError, ValueError, SyntaxError):
        return False
