"""Cityscapes and ADE20K, in the folders that their authors' archives unpack to."""

from __future__ import annotations

from pathlib import Path

from fcn_keras.data.classes import CITYSCAPES, ClassTable, voc_color_map
from fcn_keras.data.source import FileSource
from fcn_keras.errors import InputError

CITYSCAPES_IDS = (7, 8, 11, 12, 13, 17, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 31, 32, 33)
"""What labelIds pictures hold for each of the 19 classes (cityscapesScripts, labels.py)."""

ADE20K_FOLDERS = {"train": "training", "val": "validation"}
ADE20K_CLASSES = "objectInfo150.txt"


def cityscapes_source(root: str | Path, split: str = "train") -> FileSource:
    """Cityscapes with its 19 classes (Cordts et al., CVPR 2016): train and val.

    Reads `leftImg8bit/SPLIT/CITY/NAME_leftImg8bit.png` and `gtFine/SPLIT/CITY/
    NAME_gtFine_labelIds.png`. The ids outside the 19 classes are void.

    Raises:
        InputError: the folder of the split is missing or empty.
    """
    root = Path(root).expanduser()
    ending = "_leftImg8bit.png"
    images = _pictures(root / "leftImg8bit" / split, f"*/*{ending}", "leftImg8bit/SPLIT/CITY")
    names = tuple(f"{path.parent.name}/{path.name.removesuffix(ending)}" for path in images)
    masks = tuple(root / "gtFine" / split / f"{name}_gtFine_labelIds.png" for name in names)
    return FileSource(CITYSCAPES, names, images, masks, label_ids=CITYSCAPES_IDS)


def ade20k_source(root: str | Path, split: str = "train") -> FileSource:
    """ADE20K's 150 classes (Zhou et al., CVPR 2017; ADEChallengeData2016): train and val.

    Reads `images/training/NAME.jpg`, `annotations/training/NAME.png` (or `validation`) and the
    classes' names from `objectInfo150.txt`. Label 0, which is anything else, is void. The classes
    have VOC's colours.

    Raises:
        InputError: the split is unknown, its folder is missing or empty, or the list of classes
            can't be read.
    """
    root = Path(root).expanduser()
    if split not in ADE20K_FOLDERS:
        raise InputError(f"ADE20K has no split {split}; choose from {', '.join(ADE20K_FOLDERS)}")
    folder = ADE20K_FOLDERS[split]
    images = _pictures(root / "images" / folder, "*.jpg", f"images/{folder}")
    names = tuple(path.stem for path in images)
    masks = tuple(root / "annotations" / folder / f"{name}.png" for name in names)
    classes = _ade20k_classes(root / ADE20K_CLASSES)
    return FileSource(classes, names, images, masks, label_ids=tuple(range(1, len(classes) + 1)))


def _ade20k_classes(path: Path) -> ClassTable:
    """The table's lines are an index from 1, a share of the pixels, two counts, a flag and names.

    Of several names the first is taken.
    """
    if not path.is_file():
        raise InputError(f"class list {path} does not exist; it is in ADEChallengeData2016.zip")
    rows = [line.split("\t") for line in path.read_text().splitlines()[1:] if line.strip()]
    names = tuple(row[-1].split(",")[0].strip() for row in rows)
    if [row[0].strip() for row in rows] != [str(index) for index in range(1, len(rows) + 1)]:
        raise InputError(f"class list {path} is not numbered from 1 on; unpack it again")
    repeated = {name for name in names if names.count(name) > 1}
    names = tuple(
        f"{name} {index}" if name in repeated else name for index, name in enumerate(names, 1)
    )
    colors = tuple(map(tuple, voc_color_map()[1 : len(names) + 1].tolist()))
    return ClassTable("ade20k", names, colors)


def _pictures(folder: Path, pattern: str, layout: str) -> tuple[Path, ...]:
    if not folder.is_dir():
        raise InputError(f"image folder {folder} does not exist; give the folder above {layout}")
    if not (images := tuple(sorted(folder.glob(pattern)))):
        raise InputError(f"image folder {folder} has no {pattern}; unpack the archive again")
    return images
