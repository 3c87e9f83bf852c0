import json

import numpy as np
import pytest

from fcn_keras import InputError
from fcn_keras.evaluation import ConfusionMatrix


def brute_force(truth, prediction, classes):
    """Counts pixel by pixel, then every metric from sets of pixels; nothing shared with ours."""
    pixels = [(t, p) for t, p in zip(truth.ravel(), prediction.ravel(), strict=True) if t != 255]
    iou, accuracy, weighted = [], [], 0.0
    for c in range(classes):
        both = sum(t == c and p == c for t, p in pixels)
        either = sum(t == c or p == c for t, p in pixels)
        true = sum(t == c for t, p in pixels)
        iou.append(both / either if either else np.nan)
        accuracy.append(both / true if true else np.nan)
        weighted += true / len(pixels) * both / either if either else 0
    right = sum(t == p for t, p in pixels) / len(pixels)
    return right, np.nanmean(accuracy), np.nanmean(iou), weighted, iou, accuracy


def original(hist):
    """The formulas of score.py in the paper's repository (overall, per-class, IU, fwavacc)."""
    overall = np.diag(hist).sum() / hist.sum()
    with np.errstate(invalid="ignore"):
        acc = np.diag(hist) / hist.sum(1)
        iu = np.diag(hist) / (hist.sum(1) + hist.sum(0) - np.diag(hist))
    freq = hist.sum(1) / hist.sum()
    return overall, np.nanmean(acc), np.nanmean(iu), (freq[freq > 0] * iu[freq > 0]).sum()


def metrics(scores):
    return scores.pixel_accuracy, scores.mean_accuracy, scores.mean_iou, scores.fw_iou


@pytest.mark.parametrize("present", [range(6), (0, 2, 3), (4,)])
def test_metrics_equal_a_loop_over_pixels_and_the_original_formulas(present):
    random = np.random.default_rng(len(present))
    confusion = ConfusionMatrix(7)  # class 6 is nowhere; others may be only in the prediction
    truths = random.choice([*present, 255], (3, 11, 13)).astype(np.uint8)
    predictions = random.integers(0, 6, (3, 11, 13)).astype(np.uint8)
    for truth, prediction in zip(truths, predictions, strict=True):
        confusion.update(truth, prediction)
    scores = confusion.scores()
    *expected, iou, accuracy = brute_force(truths, predictions, 7)
    np.testing.assert_allclose(metrics(scores), expected, rtol=1e-12)
    np.testing.assert_allclose(metrics(scores), original(confusion.counts), rtol=1e-12)
    np.testing.assert_allclose(scores.iou, iou, rtol=1e-12)
    np.testing.assert_allclose(scores.accuracy, accuracy, rtol=1e-12)
    assert np.isnan(scores.iou[6])


def test_rows_are_the_truth():
    confusion = ConfusionMatrix(3)
    confusion.update(np.array([[0, 0, 2, 255]]), np.array([[1, 0, 2, 1]]))
    np.testing.assert_array_equal(confusion.counts, [[1, 1, 0], [0, 0, 0], [0, 0, 1]])
    assert confusion.counts.dtype == np.int64


def test_a_class_only_in_the_prediction_counts_zero_in_the_mean_iou():
    confusion = ConfusionMatrix(3)
    confusion.update(np.array([0, 0, 0, 0]), np.array([0, 0, 1, 1]))
    scores = confusion.scores()
    np.testing.assert_equal(scores.iou, [0.5, 0.0, np.nan])
    assert metrics(scores) == (0.5, 0.5, 0.25, 0.5)


def test_an_image_of_void_adds_nothing():
    confusion = ConfusionMatrix(2)
    void = np.full((4, 5), 255, np.uint8)
    confusion.update(void, np.ones((4, 5), np.uint8))
    assert confusion.counts.sum() == 0
    assert np.isnan(metrics(confusion.scores())).all()
    confusion.update(np.eye(4, dtype=np.uint8), np.eye(4, dtype=np.uint8))
    assert metrics(confusion.scores()) == (1, 1, 1, 1)


def test_counts_go_beyond_32_bits():
    confusion = ConfusionMatrix(2)
    confusion.counts[:] = [[2**40, 0], [0, 2**40]]
    confusion.update(np.array([0, 1]), np.array([1, 1]))
    assert confusion.counts.tolist() == [[2**40, 1], [0, 2**40 + 1]]
    assert confusion.scores().pixel_accuracy == pytest.approx(1, abs=1e-11)


@pytest.mark.parametrize(
    ("truth", "prediction", "message"),
    [
        ([0, 37], [0, 0], r"the mask holds class 37, but there are 21 classes \(0..20, 255 = void"),
        ([0, 1], [0, 21], "the prediction holds class 21"),
        ([0, 1], [[0, 1]], r"shape \(1, 2\), but the mask has \(2,\)"),
    ],
)
def test_wrong_classes_and_shapes_are_named(truth, prediction, message):
    with pytest.raises(InputError, match=message):
        ConfusionMatrix(21).update(np.array(truth), np.array(prediction))


def test_json_names_every_class_and_has_no_nan():
    confusion = ConfusionMatrix(3)
    confusion.update(np.array([0, 0, 1]), np.array([0, 1, 1]))
    content = confusion.scores(loss=1.5).to_dict(["sky", "sea", "sand"])
    assert content["pixel_accuracy"] == pytest.approx(2 / 3)
    assert content["loss"] == 1.5
    assert content["iou"] == {"sky": 0.5, "sea": 0.5, "sand": None}
    assert content["accuracy"] == {"sky": 0.5, "sea": 1.0, "sand": None}
    json.dumps(content, allow_nan=False)
