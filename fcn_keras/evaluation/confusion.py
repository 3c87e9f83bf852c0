"""The four metrics of semantic segmentation, from one confusion matrix."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from fcn_keras.data.classes import VOID
from fcn_keras.errors import InputError

METRICS = ("pixel_accuracy", "mean_accuracy", "mean_iou", "fw_iou")


@dataclass(frozen=True)
class Scores:
    """The metrics of Long, Shelhamer, Darrell (CVPR 2015), section 5, as fractions of one.

    Means skip classes that are absent from both truth and prediction. A value is nan if there is
    nothing to average (all pixels are void).

    Attributes:
        pixel_accuracy: Correct pixels among all.
        mean_accuracy: Mean over classes of `accuracy`; a class without true pixels doesn't count.
        mean_iou: Mean over classes of `iou`.
        fw_iou: `iou` weighted by each class's share of the true pixels.
        iou: ``(C,)`` intersection over union; nan where a class is absent from truth and
            prediction, 0 where it is only in one.
        accuracy: ``(C,)`` correct pixels among the class's true ones; nan where there are none.
        loss: Mean cross-entropy over non-void pixels, in nats; None if it was not measured.
    """

    pixel_accuracy: float
    mean_accuracy: float
    mean_iou: float
    fw_iou: float
    iou: np.ndarray
    accuracy: np.ndarray
    loss: float | None = None

    def overall(self) -> dict[str, float]:
        """The four metrics of the paper, by name."""
        return {name: getattr(self, name) for name in METRICS}

    def to_dict(self, classes: Sequence[str]) -> dict:
        """For JSON: the metrics by name, and by class name in ``iou`` and ``accuracy``.

        A value that is nan becomes None.
        """
        names = ("pixel_accuracy", "mean_accuracy", "mean_iou", "fw_iou", "loss")
        return {
            **{name: _value(getattr(self, name)) for name in names},
            "iou": dict(zip(classes, map(_value, self.iou), strict=True)),
            "accuracy": dict(zip(classes, map(_value, self.accuracy), strict=True)),
        }


class ConfusionMatrix:
    """Pixel counts, int64 ``(C, C)``: rows are the truth, columns the prediction.

    >>> matrix = ConfusionMatrix(2)
    >>> matrix.update(np.array([[0, 0, 1, 255]]), np.array([[0, 1, 1, 0]]))
    >>> matrix.counts.tolist(), matrix.scores().iou.tolist(), matrix.scores().mean_iou
    ([[1, 1], [0, 1]], [0.5, 0.5], 0.5)
    """

    def __init__(self, num_classes: int):
        self.num_classes = num_classes
        self.counts = np.zeros((num_classes, num_classes), np.int64)

    def update(self, truth: np.ndarray, prediction: np.ndarray) -> None:
        """Counts the pixels of two class maps of one shape; pixels whose truth is 255 are left out.

        Raises:
            InputError: the shapes differ, or a class id is out of range.
        """
        truth, prediction = np.asarray(truth), np.asarray(prediction)
        if truth.shape != prediction.shape:
            raise InputError(
                f"the prediction has shape {prediction.shape}, but the mask has {truth.shape}: "
                "give both the same size"
            )
        counted = truth != VOID
        truth, prediction = truth[counted], prediction[counted]
        self._check("mask", truth)
        self._check("prediction", prediction)
        pairs = truth.astype(np.int64) * self.num_classes + prediction
        counts = np.bincount(pairs, minlength=self.num_classes**2)
        self.counts += counts.reshape(self.counts.shape)

    def scores(self, loss: float | None = None) -> Scores:
        """The metrics of all pixels counted so far."""
        counts = self.counts.astype(np.float64)
        correct, true = np.diag(counts), counts.sum(axis=1)
        iou = _ratio(correct, true + counts.sum(axis=0) - correct)
        accuracy = _ratio(correct, true)
        return Scores(
            pixel_accuracy=float(_ratio(correct.sum(), true.sum())),
            mean_accuracy=_mean(accuracy),
            mean_iou=_mean(iou),
            fw_iou=float(_ratio((true * np.nan_to_num(iou)).sum(), true.sum())),
            iou=iou,
            accuracy=accuracy,
            loss=loss,
        )

    def _check(self, kind: str, labels: np.ndarray) -> None:
        if labels.size and not 0 <= labels.min() <= labels.max() < self.num_classes:
            wrong = labels[(labels < 0) | (labels >= self.num_classes)][0]
            raise InputError(
                f"the {kind} holds class {wrong}, but there are {self.num_classes} classes "
                f"(0..{self.num_classes - 1}, {VOID} = void)"
            )


def _ratio(numerator: npt.ArrayLike, denominator: npt.ArrayLike) -> np.ndarray:
    """``numerator / denominator``, nan where the denominator is zero."""
    shape = np.shape(numerator)
    return np.divide(
        numerator, denominator, out=np.full(shape, np.nan), where=np.asarray(denominator) > 0
    )


def _mean(values: np.ndarray) -> float:
    present = values[~np.isnan(values)]
    return float(present.mean()) if present.size else float("nan")


def _value(number: float | None) -> float | None:
    return None if number is None or np.isnan(number) else float(number)
