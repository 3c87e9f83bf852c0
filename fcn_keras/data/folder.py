"""The user's own data: a folder of images, a folder of masks and a list of classes."""

from __future__ import annotations

import hashlib
import importlib.util
from collections.abc import Collection, Iterable, Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from fcn_keras.data.class_list import read_classes
from fcn_keras.data.classes import VOID, ClassTable
from fcn_keras.data.images import HEIF_SUFFIXES
from fcn_keras.data.source import FileSource
from fcn_keras.data.voc import read_ids
from fcn_keras.errors import InputError

IMAGE_SUFFIXES: tuple[str, ...] = (".jpg", ".jpeg", ".png", ".webp", ".bmp", ".tif", ".tiff")
if importlib.util.find_spec("pillow_heif"):
    IMAGE_SUFFIXES += HEIF_SUFFIXES
MASK_SUFFIXES = (".png", ".bmp", ".tif", ".tiff", ".gif", ".jpg", ".jpeg")  # JPEGs to refuse them
MASK_ENDINGS = ("", "_mask", "-mask", "_masks", "_label", "_labels", "_gt", "_seg")
"""What programs add to a photo's name to name its mask."""
OTHER_NAMES = {
    "images": ("image", "imgs", "img", "photos", "JPEGImages"),
    "masks": ("mask", "labels", "label", "annotations", "SegmentationClass", "segmentation"),
}
VAL_PERCENT = 20
WHITE = (255, 255, 255)


def folder_source(root: str | Path, split: str = "train") -> FileSource:
    """A split of a folder with `images/`, `masks/` and `classes.txt`.

    An image and its mask share a name up to the extension; the mask's may end in `_mask` and the
    like (`MASK_ENDINGS`), and both may lie in subfolders of the same names. The split's names are
    the lines of `SPLIT.txt`; without such files, a hash of its name puts each image into `train`
    or, about one in five, into `val`, so that adding photos doesn't move one between the splits.
    Masks hold class ids (palette or gray) or, if `classes.txt` gives colours, those colours.

    Raises:
        InputError: a folder or file is missing, two images share a name, no image has a mask, the
            masks hold 0 and 255 alone without a class that is white, or the split is unknown,
            empty or names an image that isn't there.
    """
    root = Path(root).expanduser()
    classes, has_colors = read_classes(root / "classes.txt")
    images = _by_name(_folder(root, "images"), IMAGE_SUFFIXES, unique=True)
    masks = match_masks(images, _by_name(_folder(root, "masks"), MASK_SUFFIXES))
    if images and not masks:
        raise InputError(_no_masks(root, images))
    colors = classes.colors if has_colors else None
    if WHITE not in (colors or ()):
        _refuse_void_objects(root / "masks", masks.values(), classes)
    ids = _split_names(root, split, tuple(sorted(images)))
    if unknown := [name for name in ids if name not in images]:
        raise InputError(
            f"split file {root / f'{split}.txt'} names {unknown[0]}, but {root / 'images'} has no "
            "such image; correct the list"
        )
    found = tuple(masks.get(name, root / "masks" / f"{name}.png") for name in ids)
    return FileSource(classes, ids, tuple(images[name] for name in ids), found, colors)


def match_masks(images: Collection[str], masks: dict[str, Path]) -> dict[str, Path]:
    """The mask of each image that has one, by the image's name."""
    candidates = ((image, ending) for ending in reversed(MASK_ENDINGS) for image in images)
    return {image: masks[image + ending] for image, ending in candidates if image + ending in masks}


def strays(root: str | Path) -> list[str]:
    """Files in a data folder that will not be used, one line per kind."""
    root, lines = Path(root).expanduser(), []
    images = _by_name(root / "images", IMAGE_SUFFIXES)
    masks = _by_name(root / "masks", MASK_SUFFIXES)
    matched = match_masks(images, masks)
    if lone := sorted(images.keys() - matched.keys()):
        lines.append(f"photos without a mask: {len(lone)}, such as {lone[0]}; draw it")
    if lone := sorted({path.name for path in {*masks.values()} - {*matched.values()}}):
        lines.append(f"masks without a photo: {len(lone)}, such as {lone[0]}; add the photo")
    files = (path for path in sorted((root / "images").rglob("*")) if path.is_file())
    if unread := [p.name for p in files if p.suffix.lower() not in IMAGE_SUFFIXES]:
        heif = any(name.lower().endswith(HEIF_SUFFIXES) for name in unread)
        lines.append(
            f"files in images that are not read: {len(unread)}, such as {unread[0]}; convert "
            f"photos to JPEG or PNG{', or pip install pillow-heif' if heif else ''}"
        )
    return lines


def _folder(root: Path, name: str) -> Path:
    """The folder `name` of `root`, which must be there."""
    if (root / name).is_dir():
        return root / name
    message = f"{name[:-1]} folder {root / name} does not exist"
    there = sorted(path.name for path in root.iterdir() if path.is_dir()) if root.is_dir() else []
    wanted = {other.lower() for other in (name, *OTHER_NAMES[name])}
    if close := [other for other in there if other.lower() in wanted]:
        raise InputError(f"{message}, but {close[0]} does; rename it to {name}")
    if name == "masks":
        images = _by_name(root / "images", IMAGE_SUFFIXES)
        photos = [image for image in images if not image.endswith(MASK_ENDINGS[1:])]
        others = {name: path for name, path in images.items() if name not in photos}
        if beside := match_masks(photos, others):
            raise InputError(
                f"{message}, but {root / 'images'} holds {len(beside)} masks, such as "
                f"{next(iter(beside.values())).name}; move them to masks"
            )
    raise InputError(f"{message}; put the {'photos' if name == 'images' else 'masks'} there")


def _by_name(folder: Path, suffixes: Sequence[str], *, unique: bool = False) -> dict[str, Path]:
    """The pictures below a folder by their path in it without the extension."""
    pictures: dict[str, Path] = {}
    for path in sorted(folder.rglob("*")):
        if path.suffix.lower() not in suffixes or path.name.startswith("."):
            continue
        name = path.relative_to(folder).with_suffix("").as_posix()
        if name in pictures and unique:
            raise InputError(
                f"images {pictures[name].name} and {path.name} in {folder} share a name; rename one"
            )
        if name not in pictures or path.suffix.lower() == ".png":
            pictures[name] = path
    return pictures


def _no_masks(root: Path, images: dict[str, Path]) -> str:
    image = min(images.values())
    there = sorted(path.name for path in (root / "masks").rglob("*") if path.is_file())
    found = f"it holds {len(there)} files, such as {there[0]}" if there else "it is empty"
    return (
        f"mask folder {root / 'masks'} has a mask for none of the {len(images)} images: {found}; "
        f"name the mask of {image.name} {image.stem}.png"
    )


def _refuse_void_objects(folder: Path, masks: Iterable[Path], classes: ClassTable) -> None:
    """Refuses masks of 0 and 255 alone: 255 is void, and training would see no object at all.

    Reads masks until one shows another value, which is the first one of ordinary data.
    """
    used: set[int] = set()
    for path in masks:
        try:
            with Image.open(path) as image:
                if image.mode not in ("L", "P"):
                    return
                used.update(np.unique(np.array(image)).tolist())
        except (OSError, ValueError, SyntaxError):
            continue  # reading this file for training or checking raises the error
        if used - {0, VOID}:
            return
    if VOID in used:
        raise InputError(
            f"mask folder {folder} holds the values 0 and 255 alone, and 255 is void; if it is an "
            f"object, give its colour in classes.txt: `{classes.names[0]} 0 0 0`, "
            f"`{classes.names[1] if len(classes) > 1 else 'object'} 255 255 255`"
        )


def _split_names(root: Path, split: str, names: tuple[str, ...]) -> tuple[str, ...]:
    path = root / f"{split}.txt"
    if path.is_file():
        return read_ids(path)
    if split not in ("train", "val") or any(
        (root / f"{s}.txt").is_file() for s in ("train", "val")
    ):
        raise InputError(f"split file {path} does not exist; write one image name a line")
    validation = automatic_validation(names)
    chosen = tuple(name for name in names if (name in validation) == (split == "val"))
    if not chosen:
        raise InputError(
            f"split {split} of {root} is empty ({len(names)} images in all); add photos or write "
            "train.txt and val.txt"
        )
    return chosen


def automatic_validation(names: Sequence[str]) -> set[str]:
    """The images that the automatic split puts into `val`: of two or more, at least one.

    The hash of its name decides for each image by itself; only if that leaves a split empty, the
    image nearest to the limit changes sides.
    """
    ranked = sorted(names, key=lambda name: (_rank(name) % 100, name))
    validation = {name for name in ranked if is_validation(name)}
    if len(ranked) < 2 or 0 < len(validation) < len(ranked):
        return validation
    return validation - {ranked[-1]} or {ranked[0]}


def is_validation(name: str) -> bool:
    """Whether the hash of an image's name is for `val`."""
    return _rank(name) % 100 < VAL_PERCENT


def _rank(name: str) -> int:
    return int.from_bytes(hashlib.sha256(name.encode()).digest()[:8], "big")
