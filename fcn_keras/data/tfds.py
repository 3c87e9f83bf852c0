"""TensorFlow Datasets as sources, read through `as_data_source` without TensorFlow."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from fcn_keras.data.classes import VOC, ClassTable, voc_color_map
from fcn_keras.data.images import decode_image, decode_mask
from fcn_keras.errors import InputError

PETS = ClassTable(
    "oxford_iiit_pet", ("pet", "background", "border"), ((220, 50, 47), (0, 0, 0), (255, 255, 255))
)

_KNOWN = {"voc2012_segmentation": (VOC, 0), "oxford_iiit_pet": (PETS, 1)}  # classes, first label
_MASK_KEYS = ("segmentation_mask", "segmentation_label", "mask")


@dataclass(frozen=True)
class TfdsSource:
    """A split of a TFDS builder; images and masks are decoded from the stored bytes."""

    classes: ClassTable
    ids: tuple[str, ...]
    examples: Sequence[dict]
    mask_key: str
    first_label: int
    version: str

    def __len__(self) -> int:
        return len(self.ids)

    def __getitem__(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        example, name = self.examples[index], self.ids[index]
        image = decode_image(example["image"], name)
        mask = decode_mask(example[self.mask_key], name, len(self.classes), self.first_label)
        if image.shape[:2] != mask.shape:
            raise InputError(
                f"mask {name} is {mask.shape[1]} x {mask.shape[0]} pixels, but its image "
                f"{image.shape[1]} x {image.shape[0]}; prepare the data set again"
            )
        return image, mask


def tfds_source(
    name: str, root: str | Path | None, split: str, classes: ClassTable | None = None
) -> TfdsSource:
    """A split of a TFDS builder, which is prepared on first use.

    Args:
        name: The builder; it needs an "image" feature and a segmentation mask.
        root: Folder to prepare it in; None uses TFDS's own. `voc2012_segmentation` is built from
            `ROOT/downloads/manual` or else from the official archives.
        split: The split, or a TFDS slice such as ``train[:80%]``.
        classes: What the labels mean. `voc2012_segmentation`, `oxford_iiit_pet` and sets that name
            their labels don't need it.

    Raises:
        InputError: TFDS is not installed or has no such set or split, or the set has no mask.
    """
    try:
        import tensorflow_datasets as tfds
    except ImportError as error:
        raise InputError(
            f"data set tfds:{name} needs TensorFlow Datasets; pip install 'fcn-keras[tfds]'"
        ) from error
    builder = _prepared_builder(tfds, name, root)
    mask_key = _mask_key(name, builder.info.features)
    known, first_label = _KNOWN.get(builder.name, (None, 0))
    classes = classes or known or _named_classes(name, builder.info.features[mask_key])
    skip = tfds.decode.SkipDecoding()
    try:
        examples = builder.as_data_source(split=split, decoders={"image": skip, mask_key: skip})
    except ValueError as error:
        there = ", ".join(builder.info.splits)
        raise InputError(f"tfds:{name} has no split {split!r}; splits there: {there}") from error
    ids = tuple(f"{split}_{index:06d}" for index in range(len(examples)))
    version = str(builder.info.full_name)
    return TfdsSource(classes, ids, examples, mask_key, first_label, version)


def _prepared_builder(tfds: Any, name: str, root: str | Path | None) -> Any:
    if name.split("/")[0] == "voc2012_segmentation":
        import fcn_keras.data.tfds_voc  # noqa: F401  (importing registers the builder)
    config = {"manual_dir": Path(root).expanduser() / "downloads" / "manual"} if root else {}
    try:
        builder = tfds.builder(name, data_dir=root, file_format="array_record")
    except tfds.core.DatasetNotFoundError as error:
        raise InputError(f"TFDS has no data set {name}; see tensorflow.org/datasets") from error
    builder.download_and_prepare(download_config=tfds.download.DownloadConfig(**config))
    return builder


def _mask_key(name: str, features: Collection[str]) -> str:
    if "image" in features:
        for key in _MASK_KEYS:
            if key in features:
                return key
    there = ", ".join(sorted(features))
    raise InputError(f"tfds:{name} has no image with a segmentation mask (features: {there})")


def _named_classes(name: str, feature: Any) -> ClassTable:
    names = getattr(feature, "names", None)
    if not names:
        raise InputError(f"tfds:{name} doesn't name its labels; give their ClassTable")
    colors = tuple(tuple(color) for color in voc_color_map()[: len(names)].tolist())
    return ClassTable(name, tuple(names), colors)
