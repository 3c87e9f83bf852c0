"""The files that prediction writes for a photo."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from fcn_keras import drawing
from fcn_keras.commands.photos import Item
from fcn_keras.data.classes import ClassTable
from fcn_keras.data.images import read_mask
from fcn_keras.inference import Segmentation, coco
from fcn_keras.storage import replacing

Format = Literal["png", "npy", "json", "coco"]

# Where PASCAL VOC's evaluation server looks for the class maps of a method trained on any data.
SUBMISSION = Path("results/VOC2012/Segmentation/comp6_test_cls")


@dataclass(frozen=True)
class Outputs:
    """What to write, and where.

    Attributes:
        out: The folder.
        classes: Names and colours.
        format: ``coco`` writes the class ids as ``png``, and `write_coco` gathers them.
        alpha: Weight of the class colours in the blend.
        panel: Write NAME_panel.jpg too: photo, blend and legend.
        probabilities: Write NAME_probabilities.npy too, float16 ``(H, W, C)``.
        submission: Folder for the class ids in the layout of VOC's server.
    """

    out: Path
    classes: ClassTable
    format: Format = "png"
    alpha: float = 0.4
    panel: bool = False
    probabilities: bool = False
    submission: Path | None = None

    def files(self, item: Item) -> list[Path]:
        """All files of one photo or video."""
        if item.is_video:
            return [self._file(item, "_overlay.mp4")]
        files = [self.ids(item), self._file(item, "_overlay.jpg")]
        if self.panel:
            files.append(self._file(item, "_panel.jpg"))
        if self.probabilities:
            files.append(self._file(item, "_probabilities.npy"))
        if self.submission is not None:
            files.append(self.submission / SUBMISSION / f"{item.name.name}.png")
        return files

    def ids(self, item: Item) -> Path:
        """The file of the class ids, or of their shares."""
        return self._file(item, ".png" if self.format == "coco" else f".{self.format}")

    def finished(self, item: Item, model: Path) -> bool:
        """Whether all files exist and are newer than the photo and the model."""
        sources = [model] if isinstance(item.source, str) else [model, item.source]
        try:
            newest = max(path.stat().st_mtime_ns for path in sources)
            return min(path.stat().st_mtime_ns for path in self.files(item)) > newest
        except OSError:
            return False

    def write(self, item: Item, found: Segmentation) -> None:
        """Writes the files of one photo, each whole or not at all.

        Raises:
            SaveError: one can't be written.
        """
        for path in self.files(item):
            path.parent.mkdir(parents=True, exist_ok=True)
        found.save(self.ids(item))
        drawing.save_image(self._file(item, "_overlay.jpg"), found.overlay(self.alpha))
        if self.panel:
            drawing.save_image(self._file(item, "_panel.jpg"), found.panel(self.alpha))
        if self.probabilities:
            with replacing(self._file(item, "_probabilities.npy")) as draft:
                np.save(draft, found.probabilities.astype(np.float16))
        if self.submission is not None:
            found.save(self.files(item)[-1])

    def write_coco(self, items: list[Item], path: Path) -> None:
        """Gathers the class ids of all photos that have them in one COCO file."""
        masks = (
            (Path(item.source_name).name, read_mask(self.ids(item), len(self.classes)))
            for item in items
            if not item.is_video and self.ids(item).is_file()
        )
        with replacing(path) as draft:
            draft.write_text(json.dumps(coco.dataset(masks, self.classes)))

    def _file(self, item: Item, ending: str) -> Path:
        return self.out / item.name.with_name(item.name.name + ending)
