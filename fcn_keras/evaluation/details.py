"""What a report shows beyond the four metrics: image by image, near borders, by confidence."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from fcn_keras.data.classes import VOID
from fcn_keras.evaluation.confusion import ConfusionMatrix, Scores
from fcn_keras.evaluation.trimap import WIDTHS, border_distances

BINS = 20


@dataclass(frozen=True)
class Mistake:
    """A class, what its pixels are mistaken for, and the share of its pixels that are, 0..1."""

    label: int
    taken_for: int
    share: float


@dataclass
class Details:
    """Gathers the details as an evaluator's ``observe``.

    Attributes:
        num_classes: C.
        images: Mean IoU of each image by its index, over the classes that occur in it or in its
            prediction; images without a labelled pixel are left out.
        confusion: All pixels, as `ConfusionMatrix`.
        bands: Pixels by distance from a border, int64 ``(40, C, C)``, like `confusion`.
        pixels: Labelled pixels by confidence, int64 ``(20,)``: the first bin is 0 to 0.05.
        right: Those of them that are correct.
        confidence: The sum of their confidences.
    """

    num_classes: int
    images: dict[int, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.confusion = ConfusionMatrix(self.num_classes)
        self.bands = np.zeros((len(WIDTHS), self.num_classes, self.num_classes), np.int64)
        self.pixels, self.right = np.zeros((2, BINS), np.int64)
        self.confidence = np.zeros(BINS)

    def __call__(
        self,
        index: int,
        image: np.ndarray,
        mask: np.ndarray,
        prediction: np.ndarray,
        confidence: np.ndarray,
    ) -> None:
        """Adds a sample."""
        own = ConfusionMatrix(self.num_classes)
        own.update(mask, prediction)
        labelled = mask != VOID
        if not labelled.any():
            return
        self.confusion.counts += own.counts
        self.images[index] = own.scores().mean_iou
        self._add_bands(border_distances(mask)[labelled], mask[labelled], prediction[labelled])
        bins = np.minimum((confidence[labelled] * BINS).astype(int), BINS - 1)
        right = mask[labelled] == prediction[labelled]
        self.pixels += np.bincount(bins, minlength=BINS)
        self.right += np.bincount(bins[right], minlength=BINS)
        self.confidence += np.bincount(bins, confidence[labelled], minlength=BINS)

    def _add_bands(self, distances: np.ndarray, truth: np.ndarray, prediction: np.ndarray) -> None:
        near, classes = distances < len(WIDTHS), self.num_classes
        places = (distances[near].astype(int) * classes + truth[near]) * classes + prediction[near]
        self.bands += np.bincount(places, minlength=self.bands.size).reshape(self.bands.shape)

    def trimap(self) -> list[Scores]:
        """The scores of the pixels in bands of each of `WIDTHS` around the borders."""
        scores = []
        for counts in self.bands.cumsum(axis=0):
            matrix = ConfusionMatrix(self.num_classes)
            matrix.counts = counts
            scores.append(matrix.scores())
        return scores

    def calibration(self) -> tuple[np.ndarray, np.ndarray]:
        """Mean confidence and share of correct pixels of each bin, nan where it is empty."""
        empty = np.full(BINS, np.nan)
        filled = self.pixels > 0
        return (
            np.divide(self.confidence, self.pixels, out=empty.copy(), where=filled),
            np.divide(self.right, self.pixels, out=empty.copy(), where=filled),
        )

    def calibration_error(self) -> float:
        """Expected calibration error: the mean over pixels of the bins' difference of the two."""
        total = self.pixels.sum()
        return float(np.abs(self.confidence - self.right).sum() / total) if total else float("nan")

    def mistakes(self, most: int = 3, least: float = 0.01) -> list[Mistake]:
        """What each class is mistaken for: up to `most`, of at least a share of `least` each."""
        found = []
        for label, row in enumerate(self.confusion.counts):
            others = [int(other) for other in np.argsort(-row, kind="stable") if other != label]
            for other in others[:most]:
                share = float(row[other] / max(row.sum(), 1))
                if share >= least:
                    found.append(Mistake(label, other, share))
        return found
