"""Data sets by name: the one list, from which help texts and checks follow."""

from collections.abc import Callable
from pathlib import Path
from typing import Annotated

from typing_extensions import Doc

from fcn_keras.data.classes import SHAPES
from fcn_keras.data.folder import folder_source
from fcn_keras.data.pairs import camvid_source
from fcn_keras.data.scenes import ade20k_source, cityscapes_source
from fcn_keras.data.shapes import default_root, write_shapes
from fcn_keras.data.source import FileSource, Source
from fcn_keras.data.voc import SPLITS_FOLDER, voc_source
from fcn_keras.errors import InputError, suggest


def _shapes_source(root: str | Path, split: str) -> FileSource:
    if not (Path(root) / SPLITS_FOLDER).is_dir():
        write_shapes(root)
    return voc_source(root, split, SHAPES)


FILE_SETS: dict[str, Callable[[str | Path, str], FileSource]] = {
    "shapes": _shapes_source,
    "voc2012": voc_source,
    "camvid": camvid_source,
    "cityscapes": cityscapes_source,
    "ade20k": ade20k_source,
    "folder": folder_source,
}
"""Sets that are folders of files. All but the built-in shapes need to be told which folder."""

TFDS = "tfds:"
NAMES = (*FILE_SETS, f"{TFDS}NAME")

DatasetName = Annotated[str, Doc(f"Data set: {', '.join(NAMES[:-1])} or {NAMES[-1]}.")]
DataFolder = Annotated[
    Path | None, Doc("Folder of the data set; shapes and tfds have one by default.")
]


def open_dataset(name: str, root: str | Path | None = None, split: str = "train") -> Source:
    """Opens one split of a data set.

    Args:
        name: One of `NAMES`: "shapes" is built in and drawn on first use, "folder" is the user's
            own, "tfds:NAME" is a TensorFlow Datasets builder.
        root: The folder of the data set; only "shapes" and "tfds:NAME" have a default.
        split: "train", "val" or whatever else the set offers; "train+val" is both, one after the
            other.

    Raises:
        InputError: the name or the split is unknown, the folder is missing, the split is empty, or
            it names files that the folder lacks.
    """
    if name.startswith(TFDS):
        from fcn_keras.data.tfds import tfds_source

        return tfds_source(name.removeprefix(TFDS), root, split)
    source = open_files(name, root, split)
    if absent := source.missing():
        raise InputError(
            f"file {absent[0]} of split {split} does not exist ({len(absent)} of "
            f"{2 * len(source)} missing); complete the folder or the split file"
        )
    return source


def open_files(name: str, root: str | Path | None, split: str) -> FileSource:
    """Like `open_dataset` for sets made of files, without checking that each file exists."""
    if name.startswith(TFDS):
        raise InputError(f"data set {name} is not a folder of files, so there are none to check")
    if name not in FILE_SETS:
        raise InputError(f"no data set named {name!r}; {suggest(name, NAMES)}")
    if root is None:
        if name != "shapes":
            raise InputError(f"data set {name} needs its folder; give it as `root`")
        root = default_root()
    first, *others = [FILE_SETS[name](root, part) for part in split.split("+")]
    return first.followed_by(others) if others else first
