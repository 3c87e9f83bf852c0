"""The user's own data: a folder of images, a folder of masks and a list of classes."""

import hashlib
from pathlib import Path

from fcn_keras.data.classes import ClassTable, voc_color_map
from fcn_keras.data.source import FileSource
from fcn_keras.data.voc import read_ids
from fcn_keras.errors import InputError

IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png", ".webp", ".bmp", ".tif", ".tiff")
VAL_PERCENT = 20


def folder_source(root: str | Path, split: str = "train") -> FileSource:
    """A split of a folder with `images/`, `masks/` and `classes.txt`.

    An image and its mask (a PNG) share a name up to the extension. The split's names are the lines
    of `SPLIT.txt`; without such files, a hash of its name puts each image into `train` or, about
    one in five, into `val`, so that adding photos never moves one between the splits. Masks hold
    class ids (palette or gray) or, if `classes.txt` gives colours, those colours.

    Raises:
        InputError: a folder or file is missing, two images share a name, or the split is unknown,
            empty or names an image that isn't there.
    """
    root = Path(root).expanduser()
    classes, has_colors = read_classes(root / "classes.txt")
    images = _images_by_name(root / "images")
    ids = _split_names(root, split, tuple(sorted(images)))
    if unknown := [name for name in ids if name not in images]:
        raise InputError(
            f"split file {root / f'{split}.txt'} names {unknown[0]}, but {root / 'images'} has no "
            "such image; correct the list"
        )
    masks = tuple(root / "masks" / f"{name}.png" for name in ids)
    colors = classes.colors if has_colors else None
    return FileSource(classes, ids, tuple(images[name] for name in ids), masks, colors)


def read_classes(path: Path) -> tuple[ClassTable, bool]:
    """Reads `classes.txt`: a class a line, `name` or `name red green blue`; line n is class n - 1.

    Returns:
        The table, and whether the file gives the colours (if not, they are VOC's colour map).

    Raises:
        InputError: the file is missing or empty, repeats a name or a colour, or gives colours for
            some classes only.
    """
    if not path.is_file():
        raise InputError(f"class list {path} does not exist; write one class a line")
    names: list[str] = []
    colors: list[tuple[int, int, int]] = []
    for line in path.read_text().splitlines():
        words = line.split()
        if not words:
            continue
        color = words[-3:] if len(words) > 3 else []
        if color and all(word.isdecimal() and int(word) < 256 for word in color):
            red, green, blue = map(int, color)
            colors.append((red, green, blue))
            words = words[:-3]
        names.append(" ".join(words))
    if not names:
        raise InputError(f"class list {path} is empty; write one class a line")
    if colors and len(colors) != len(names):
        raise InputError(
            f"class list {path} gives {len(colors)} colours for {len(names)} classes; write "
            "`name red green blue` (0..255) on every line or on none"
        )
    if len(set(colors)) != len(colors) or len(set(names)) != len(names):
        raise InputError(f"class list {path} repeats a name or a colour; make them differ")
    default = tuple(tuple(color) for color in voc_color_map()[: len(names)].tolist())
    return ClassTable(path.parent.name, tuple(names), tuple(colors) or default), bool(colors)


def _images_by_name(folder: Path) -> dict[str, Path]:
    if not folder.is_dir():
        raise InputError(f"image folder {folder} does not exist; put the photos there")
    images: dict[str, Path] = {}
    for path in sorted(folder.iterdir()):
        if path.suffix.lower() not in IMAGE_SUFFIXES:
            continue
        if path.stem in images:
            raise InputError(
                f"images {images[path.stem].name} and {path.name} in {folder} share a name; rename "
                "one"
            )
        images[path.stem] = path
    return images


def _split_names(root: Path, split: str, names: tuple[str, ...]) -> tuple[str, ...]:
    path = root / f"{split}.txt"
    if path.is_file():
        return read_ids(path)
    if split not in ("train", "val") or any(
        (root / f"{s}.txt").is_file() for s in ("train", "val")
    ):
        raise InputError(f"split file {path} does not exist; write one image name a line")
    chosen = tuple(name for name in names if is_validation(name) == (split == "val"))
    if not chosen:
        raise InputError(
            f"split {split} of {root} is empty ({len(names)} images in all); add photos or write "
            "train.txt and val.txt"
        )
    return chosen


def is_validation(name: str) -> bool:
    """Whether the automatic split puts the image of this name into `val`."""
    digest = hashlib.sha256(name.encode()).digest()
    return int.from_bytes(digest[:8], "big") % 100 < VAL_PERCENT
