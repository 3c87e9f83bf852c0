"""Data sets by name."""

from pathlib import Path

from fcn_keras.data import shapes
from fcn_keras.data.classes import SHAPES
from fcn_keras.data.folder import folder_source
from fcn_keras.data.pairs import camvid_source
from fcn_keras.data.source import FileSource, Source
from fcn_keras.data.voc import SPLITS_FOLDER, voc_source
from fcn_keras.errors import InputError

NAMES = ("shapes", "voc2012", "camvid", "folder", "tfds:NAME")


def open_dataset(name: str, root: str | Path | None = None, split: str = "train") -> Source:
    """Opens one split of a data set.

    Args:
        name: "shapes" (the built-in set, drawn on first use), "voc2012", "camvid", "folder" (the
            user's own) or "tfds:NAME" for a TensorFlow Datasets builder.
        root: The folder of the data set; only "shapes" and "tfds:NAME" have a default.
        split: "train", "val" or whatever else the set offers.

    Raises:
        InputError: the name or the split is unknown, the folder is missing, the split is empty, or
            it names files that the folder lacks.
    """
    if name.startswith("tfds:"):
        from fcn_keras.data.tfds import tfds_source

        return tfds_source(name.removeprefix("tfds:"), root, split)
    source = open_files(name, root, split)
    if absent := source.missing():
        raise InputError(
            f"file {absent[0]} of split {split} does not exist ({len(absent)} of "
            f"{2 * len(source)} missing); complete the folder or the split file"
        )
    return source


def open_files(name: str, root: str | Path | None, split: str) -> FileSource:
    """Like `open_dataset` for sets made of files, without checking that each file exists."""
    if name == "shapes":
        root = Path(root) if root else shapes.default_root()
        if not (root / SPLITS_FOLDER).is_dir():
            shapes.write_shapes(root)
        return voc_source(root, split, SHAPES)
    if name.startswith("tfds:"):
        raise InputError(f"data set {name} is no folder of files, so there are none to check")
    openers = {"voc2012": voc_source, "camvid": camvid_source, "folder": folder_source}
    if name not in openers:
        raise InputError(f"no data set named {name!r}; choose from {', '.join(NAMES)}")
    if root is None:
        raise InputError(f"data set {name} needs its folder; give it as --data-dir")
    return openers[name](root, split)
