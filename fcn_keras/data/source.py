"""The interface that all data sets share."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol

import numpy as np

from fcn_keras.data.classes import ClassTable
from fcn_keras.data.images import Colors, exif_orientation, read_image, read_mask
from fcn_keras.errors import InputError


class Source(Protocol):
    """Random access to image/mask pairs; picklable, so that worker processes can hold one.

    ``source[i]`` is an image, uint8 ``(H, W, 3)`` RGB, and a mask of the same height and width,
    uint8 ``(H, W)`` of class ids with 255 = void.
    """

    @property
    def classes(self) -> ClassTable:
        """What the labels mean."""

    @property
    def ids(self) -> tuple[str, ...]:
        """A name for each sample."""

    def __len__(self) -> int: ...

    def __getitem__(self, index: int) -> tuple[np.ndarray, np.ndarray]: ...


@dataclass(frozen=True)
class FileSource:
    """Image and mask files, one pair per sample.

    Attributes:
        classes: What the labels mean.
        ids: A name for each sample.
        images: The image files.
        masks: The mask files.
        colors: RGB by class id, for RGB masks.
        ignore_label: A label value that means void.
        label_ids: The value that stands for each class in the files, if it isn't the class id; any
            other value is void.
    """

    classes: ClassTable
    ids: tuple[str, ...]
    images: tuple[Path, ...]
    masks: tuple[Path, ...]
    colors: Colors | None = None
    ignore_label: int | None = None
    label_ids: tuple[int, ...] | None = None

    def __len__(self) -> int:
        return len(self.ids)

    def __getitem__(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        image, mask = self.image(index), self.mask(index)
        self.require_same_size(index, image, mask)
        return image, mask

    def followed_by(self, others: Sequence[FileSource]) -> FileSource:
        """This source's samples, then those of the others whose names are new."""
        files = {
            name: (image, mask)
            for source in reversed((self, *others))
            for name, image, mask in zip(source.ids, source.images, source.masks, strict=True)
        }
        ids = tuple(dict.fromkeys(name for source in (self, *others) for name in source.ids))
        images, masks = zip(*(files[name] for name in ids), strict=True)
        return replace(self, ids=ids, images=images, masks=masks)

    def image(self, index: int) -> np.ndarray:
        """The image alone, uint8 ``(H, W, 3)``."""
        return read_image(self.images[index])

    def mask(self, index: int) -> np.ndarray:
        """The mask alone, uint8 ``(H, W)``."""
        return read_mask(
            self.masks[index],
            len(self.classes),
            self.colors,
            ignore_label=self.ignore_label,
            label_ids=self.label_ids,
        )

    def require_same_size(self, index: int, image: np.ndarray, mask: np.ndarray) -> None:
        """Compares a sample's image and mask.

        Raises:
            InputError: they differ in height or width.
        """
        if image.shape[:2] == mask.shape:
            return
        path, (height, width) = self.images[index], image.shape[:2]
        message = (
            f"mask {self.masks[index].name} is {mask.shape[1]} x {mask.shape[0]} pixels, but image "
            f"{path.name} is {width} x {height}"
        )
        if (width, height) == mask.shape and (orientation := exif_orientation(path)) >= 5:
            raise InputError(
                f"{message} once turned upright (EXIF orientation {orientation}); turn the mask too"
            )
        raise InputError(f"{message}; make the mask from this very image")

    def missing(self) -> list[Path]:
        """The files that don't exist, images first; each folder is listed once."""
        present: dict[Path, set[str]] = {}
        absent = []
        for path in (*self.images, *self.masks):
            folder = path.parent
            if folder not in present:
                present[folder] = {p.name for p in folder.iterdir()} if folder.is_dir() else set()
            if path.name not in present[folder]:
                absent.append(path)
        return absent


@dataclass(frozen=True)
class Subset:
    """Some samples of a source, in the order of `indices`."""

    source: Source
    indices: Sequence[int]

    @classmethod
    def first(cls, source: Source, count: int) -> Subset:
        """The first `count` samples, or all if there are fewer."""
        return cls(source, range(min(count, len(source))))

    @property
    def classes(self) -> ClassTable:
        """Those of the source."""
        return self.source.classes

    @property
    def ids(self) -> tuple[str, ...]:
        """The samples' names."""
        return tuple(self.source.ids[index] for index in self.indices)

    def __len__(self) -> int:
        return len(self.indices)

    def __getitem__(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        return self.source[self.indices[index]]
