"""Data sets in the folder layout of PASCAL VOC 2012, and SBD beside it."""

from importlib import resources
from pathlib import Path

from fcn_keras.data.classes import VOC, ClassTable
from fcn_keras.data.source import FileSource
from fcn_keras.errors import InputError
from fcn_keras.storage import reason

SPLITS_FOLDER = Path("ImageSets", "Segmentation")


def voc_source(root: str | Path, split: str = "train", classes: ClassTable = VOC) -> FileSource:
    """A split of a VOC-layout folder: `JPEGImages/ID.jpg` and `SegmentationClass/ID.png`.

    `root` is the folder that holds `ImageSets`, or `VOCdevkit`, or its parent. `split` names a
    file in `ImageSets/Segmentation`. `seg11valid` (the validation list of the FCN paper, 736 ids)
    ships with this package and is used if the folder has no such file. `trainaug` (Hariharan et
    al., ICCV 2011: VOC's training images plus SBD's) takes its masks from `SegmentationClassAug`,
    or else VOC's own where they exist and SBD's `.mat` files for the rest, from
    `benchmark_RELEASE` in `root` or a folder above it.

    Raises:
        InputError: the folder, the split file or SBD is missing, or the split is empty.
    """
    root = find_voc_root(root)
    ids = _split_ids(root, split)
    images = tuple(root / "JPEGImages" / f"{name}.jpg" for name in ids)
    masks = tuple(root / "SegmentationClass" / f"{name}.png" for name in ids)
    if split == "trainaug":
        masks = _augmented_masks(root, ids)
    return FileSource(classes, ids, images, masks)


def find_voc_root(root: str | Path) -> Path:
    """The folder that holds `ImageSets/Segmentation`: `root`, or VOC2012 below it.

    Raises:
        InputError: there is none.
    """
    root = Path(root).expanduser()
    if not root.is_dir():
        raise InputError(f"data folder {root} does not exist; give the folder of the data set")
    for below in ("", "VOC2012", "VOCdevkit/VOC2012", "TrainVal/VOCdevkit/VOC2012"):
        if (root / below / SPLITS_FOLDER).is_dir():
            return root / below
    raise InputError(
        f"data folder {root} holds no {SPLITS_FOLDER}; give the VOC2012 folder, VOCdevkit or its "
        "parent"
    )


def read_lines(path: Path) -> list[str]:
    """The lines of a split file.

    Raises:
        InputError: the file can't be read, or isn't text.
    """
    try:
        return path.read_text("utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(
            f"split file {path} can't be read ({reason(error)}); save it as text in UTF-8"
        ) from error


def read_ids(path: Path) -> tuple[str, ...]:
    """The sample names in a split file, one a line.

    Raises:
        InputError: there are none.
    """
    ids = tuple(line.strip() for line in read_lines(path) if line.strip())
    if not ids:
        raise InputError(f"split file {path} is empty; write one sample name a line")
    return ids


def _split_ids(root: Path, split: str) -> tuple[str, ...]:
    path = root / SPLITS_FOLDER / f"{split}.txt"
    if path.is_file():
        return read_ids(path)
    if split == "seg11valid":
        with resources.as_file(resources.files("fcn_keras.data") / "lists/seg11valid.txt") as path:
            return read_ids(path)
    if split == "trainaug":
        return _sbd_ids(root)
    there = ", ".join(sorted(p.stem for p in path.parent.glob("*.txt"))) or "none"
    raise InputError(f"split file {path} does not exist; splits there: {there}")


def _sbd_ids(root: Path) -> tuple[str, ...]:
    """VOC's training ids, then SBD's (train and val) that are not in VOC's validation set."""
    dataset = find_sbd(root)
    own = _split_ids(root, "train")
    validation = set(_split_ids(root, "val"))
    extra = {name for part in ("train", "val") for name in read_ids(dataset / f"{part}.txt")}
    return own + tuple(sorted(extra - validation - set(own)))


def _augmented_masks(root: Path, ids: tuple[str, ...]) -> tuple[Path, ...]:
    if (root / "SegmentationClassAug").is_dir():
        return tuple(root / "SegmentationClassAug" / f"{name}.png" for name in ids)
    dataset = find_sbd(root)
    own = {path.stem for path in (root / "SegmentationClass").glob("*.png")}
    return tuple(
        root / "SegmentationClass" / f"{name}.png" if name in own else dataset / f"cls/{name}.mat"
        for name in ids
    )


def find_sbd(root: Path) -> Path:
    """SBD's `benchmark_RELEASE/dataset`, in `root` or up to three folders above it.

    Raises:
        InputError: there is none.
    """
    for folder in (root, *root.resolve().parents[:3]):
        if (folder / "benchmark_RELEASE" / "dataset" / "cls").is_dir():
            return folder / "benchmark_RELEASE" / "dataset"
    raise InputError(
        f"split trainaug needs SegmentationClassAug or benchmark_RELEASE (SBD) in {root} or a "
        "folder above it; fetch SBD with fcn_keras.data.archives.fetch, or the command fcn-keras "
        "data download"
    )
