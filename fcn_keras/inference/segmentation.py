"""The result for one photo."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from functools import cached_property
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from fcn_keras import drawing
from fcn_keras.data.classes import ClassTable
from fcn_keras.errors import InputError
from fcn_keras.storage import replacing

FORMATS = (".png", ".npy", ".json", ".jpg")


class Segmentation:
    """A photo's class map and what follows from it. Notebooks show it as a picture.

    Attributes:
        image: The photo, uint8 ``(H, W, 3)``.
        mask: Class ids, uint8 ``(H, W)``.
        confidence: The probability of each pixel's class, float32 ``(H, W)``.
        classes: Names and colours.
    """

    def __init__(
        self,
        image: np.ndarray,
        mask: np.ndarray,
        confidence: np.ndarray,
        classes: ClassTable,
        probabilities: Callable[[np.ndarray], np.ndarray] | None = None,
    ):
        self.image, self.mask, self.confidence, self.classes = image, mask, confidence, classes
        self._compute_probabilities = probabilities

    @cached_property
    def probabilities(self) -> np.ndarray:
        """The probabilities of all classes, float32 ``(H, W, C)``.

        Four bytes for each class and pixel, so the model runs again when this is first asked for.

        Raises:
            InputError: this is a copy from another process, which has no model.
        """
        if self._compute_probabilities is None:
            raise InputError(
                "probabilities were not computed before this segmentation left its process: read "
                "them there first"
            )
        return self._compute_probabilities(self.image)

    @cached_property
    def shares(self) -> dict[str, float]:
        """The share of pixels of each class that was found, by name, largest first."""
        counts = np.bincount(self.mask.ravel(), minlength=len(self.classes))
        order = [index for index in np.argsort(-counts, kind="stable") if counts[index]]
        return {self.classes.names[index]: float(counts[index] / counts.sum()) for index in order}

    def overlay(self, alpha: float = 0.4) -> np.ndarray:
        """The class colours over the photo, uint8 ``(H, W, 3)``; `alpha` is their weight."""
        return drawing.overlay(self.image, self.mask, self.classes, alpha)

    def legend(self) -> np.ndarray:
        """The classes found with their colours and shares, a picture uint8 ``(h, w, 3)``."""
        colors = dict(zip(self.classes.names, self.classes.colors, strict=True))
        return drawing.legend(
            (f"{name} {100 * share:.1f} %", colors[name]) for name, share in self.shares.items()
        )

    def panel(self, alpha: float = 0.4) -> np.ndarray:
        """Photo, overlay and legend side by side, a picture uint8 ``(h, w, 3)``."""
        return drawing.beside(self.image, self.overlay(alpha), self.legend())

    def polygons(self) -> dict[str, list[np.ndarray]]:
        """The outer outlines of each class's areas, by name: int32 ``(N, 2)`` of x and y.

        Holes have no outlines of their own, only those of the classes inside them.
        """
        import cv2

        found = {}
        for name in self.shares:
            area = (self.mask == self.classes.names.index(name)).astype(np.uint8)
            outlines, _ = cv2.findContours(area, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE)
            found[name] = [outline[:, 0] for outline in outlines]
        return found

    def save(self, path: str | PathLike) -> None:
        """Writes the format that the extension names, whole or not at all.

        ``.png`` holds the class ids with their colours as the palette, ``.npy`` the class ids,
        ``.json`` the size and the shares, ``.jpg`` the overlay.

        Raises:
            InputError: the path has another extension.
        """
        path = Path(path)
        if path.suffix not in FORMATS:
            raise InputError(f"path {path} must end in one of {', '.join(FORMATS)}")
        if path.suffix == ".png":
            drawing.save_mask(path, self.mask, self.classes)
        elif path.suffix == ".jpg":
            drawing.save_image(path, self.overlay())
        else:
            with replacing(path) as draft:
                if path.suffix == ".npy":
                    np.save(draft, self.mask)
                else:
                    draft.write_text(json.dumps(self.to_dict(), indent=2) + "\n")

    def to_dict(self) -> dict[str, Any]:
        """For JSON: the photo's size, and the share of each class."""
        height, width = self.mask.shape
        return {"width": width, "height": height, "shares": self.shares}

    def __getstate__(self) -> dict[str, Any]:
        # The model isn't pickled.
        return {**self.__dict__, "_compute_probabilities": None}

    def __repr__(self) -> str:
        height, width = self.mask.shape
        found = ", ".join(f"{name} {share:.1%}" for name, share in self.shares.items())
        return f"Segmentation({width}x{height}: {found})"

    def _repr_png_(self) -> bytes:
        with io.BytesIO() as file:
            Image.fromarray(drawing.beside(self.overlay(), self.legend())).save(file, "PNG")
            return file.getvalue()
