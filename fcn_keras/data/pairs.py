"""Data sets given as lists of image and mask paths, CamVid among them."""

from pathlib import Path

from fcn_keras.data.classes import CAMVID, ClassTable
from fcn_keras.data.source import FileSource
from fcn_keras.data.voc import read_lines
from fcn_keras.errors import InputError


def pairs_source(
    root: str | Path, split: str, classes: ClassTable, *, ignore_label: int | None = None
) -> FileSource:
    """A split listed in `root/SPLIT.txt`, one `image mask` pair of paths relative to `root` a line.

    A sample's id is its image's file name without the extension. Pixels labelled `ignore_label`
    are void.

    Raises:
        InputError: the list is missing or empty, or a line is not a pair.
    """
    root = Path(root).expanduser()
    path = root / f"{split}.txt"
    if not path.is_file():
        raise InputError(f"split file {path} does not exist; write one `image mask` pair a line")
    pairs = []
    for number, line in enumerate(read_lines(path), 1):
        if not line.strip():
            continue
        if len(pair := line.split()) != 2:
            raise InputError(f"split file {path} line {number} is {line!r}; write `image mask`")
        pairs.append([root / name for name in pair])
    if not pairs:
        raise InputError(f"split file {path} is empty; write one `image mask` pair a line")
    images, masks = zip(*pairs, strict=True)
    ids = tuple(image.stem for image in images)
    return FileSource(classes, ids, images, masks, ignore_label=ignore_label)


def camvid_source(root: str | Path, split: str = "train") -> FileSource:
    """CamVid with 11 classes (Brostow et al. 2008; the split of SegNet): train, val and test.

    Label 11 (unlabelled) is void.
    """
    return pairs_source(root, split, CAMVID, ignore_label=len(CAMVID))
