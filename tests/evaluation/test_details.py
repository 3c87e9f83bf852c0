"""The report's numbers, against loops over pixels."""

import dataclasses

import keras
import numpy as np
import pytest

from fcn_keras.data.classes import SHAPES, VOID
from fcn_keras.evaluation import Evaluator
from fcn_keras.evaluation.details import BINS, Details
from fcn_keras.evaluation.trimap import WIDTHS, border_distances

SIZES = [(12, 17), (9, 9), (20, 6)]


def blobs(rng, shape, labels=(0, 1, 2, VOID)):
    """Patches of 4 x 4 pixels, so that some pixels are far from borders."""
    small = rng.choice(labels, (shape[0] // 4 + 1, shape[1] // 4 + 1), p=[0.7, 0.1, 0.1, 0.1])
    return np.kron(small, np.ones((4, 4), int))[: shape[0], : shape[1]].astype(np.uint8)


def slow_distances(mask, most):
    """The distance to the nearest border, border by border."""
    (height, width), borders = mask.shape, []
    for y, x in np.ndindex(mask.shape):
        beside = ((y + 1, x), (y - 1, x), (y, x + 1), (y, x - 1))
        inside = [(v, u) for v, u in beside if 0 <= v < height and 0 <= u < width]
        if any(mask[place] != mask[y, x] for place in inside):
            borders.append((y, x))
    rows, columns = np.mgrid[:height, :width]
    away = [np.maximum(abs(rows - y), abs(columns - x)) for y, x in borders]
    return np.minimum.reduce([*away, np.full(mask.shape, most)])


@pytest.mark.parametrize("shape", SIZES)
def test_border_distances(shape):
    mask = blobs(np.random.default_rng(1), shape)
    np.testing.assert_array_equal(border_distances(mask, 4), slow_distances(mask, 4))
    flat = np.zeros(shape, np.uint8)
    assert (border_distances(flat) == WIDTHS[-1]).all()


@pytest.fixture(scope="module")
def gathered():
    rng, details, samples = np.random.default_rng(2), Details(3), []
    for index, shape in enumerate(SIZES):
        mask, prediction = blobs(rng, shape), rng.integers(0, 3, shape).astype(np.uint8)
        confidence = rng.random(shape).astype(np.float32)
        samples.append((mask, prediction, confidence))
        details(index, np.zeros((*shape, 3), np.uint8), *samples[-1])
    details(3, np.zeros((2, 2, 3), np.uint8), *np.full((3, 2, 2), VOID))
    return details, samples


def mean_iou(pairs):
    ious = []
    for label in range(3):
        both = sum(t == p == label for t, p in pairs)
        either = sum(label in pair for pair in pairs)
        ious += [both / either] if either else []
    return sum(ious) / len(ious)


def labelled(sample):
    return [place for place in np.ndindex(sample[0].shape) if sample[0][place] != VOID]


def test_scores_of_images(gathered):
    details, samples = gathered
    expected = {
        index: mean_iou([(mask[place], prediction[place]) for place in labelled(sample)])
        for index, sample in enumerate(samples)
        for mask, prediction, _ in [sample]
    }
    assert details.images == pytest.approx(expected)


def test_trimap(gathered):
    details, samples = gathered
    distances = [slow_distances(mask, 40) for mask, *_ in samples]
    for width, scores in zip(WIDTHS, details.trimap(), strict=True):
        pairs = [
            (sample[0][place], sample[1][place])
            for sample, near in zip(samples, distances, strict=True)
            for place in labelled(sample)
            if near[place] < width
        ]
        right = sum(t == p for t, p in pairs) / len(pairs)
        assert scores.pixel_accuracy == pytest.approx(right)
        assert scores.mean_iou == pytest.approx(mean_iou(pairs))


def test_calibration(gathered):
    details, samples = gathered
    confidence, accuracy = details.calibration()
    error = pixels = 0
    for number in range(BINS):
        low, high = number / BINS, (number + 1) / BINS
        inside = [
            (sample[2][place], sample[0][place] == sample[1][place])
            for sample in samples
            for place in labelled(sample)
            if low <= sample[2][place] < high
        ]
        sure, right = np.mean(inside, axis=0)
        assert (confidence[number], accuracy[number]) == pytest.approx((sure, right))
        error += len(inside) * abs(sure - right)
        pixels += len(inside)
    assert details.calibration_error() == pytest.approx(error / pixels)


def test_mistakes(gathered):
    details, samples = gathered
    pairs = [(s[0][place], s[1][place]) for s in samples for place in labelled(s)]
    found = details.mistakes(most=1)
    assert [mistake.label for mistake in found] == [0, 1, 2]
    for mistake in found:
        own = [p for t, p in pairs if t == mistake.label]
        assert mistake.share == own.count(mistake.taken_for) / len(own)
        others = {0, 1, 2} - {mistake.label}
        assert own.count(mistake.taken_for) == max(map(own.count, others))
    assert len(details.mistakes()) == 6 and details.mistakes(least=0.9) == []


@dataclasses.dataclass
class Photos:
    sizes: list
    classes = SHAPES
    ids = ("a", "b", "c", "d")

    def __len__(self):
        return len(self.sizes)

    def __getitem__(self, index):
        rng = np.random.default_rng(index)
        image = rng.integers(0, 256, (*self.sizes[index], 3), np.uint8)
        return image, rng.integers(0, 6, self.sizes[index]).astype(np.uint8)


def test_an_evaluator_shows_every_sample_without_padding():
    """The probabilities are those of the model on the image alone."""
    model = keras.Sequential([keras.Input((None, None, 3)), keras.layers.Conv2D(6, 1)])
    model.set_weights([0.02 * value for value in model.get_weights()])
    source, seen = Photos([(40, 50), (33, 64), (40, 50)]), {}
    evaluator = Evaluator(model, batch_size=2, bucket=64)
    scores = evaluator.run(source, observe=lambda index, *sample: seen.update({index: sample}))
    details = Details(6)
    for index in range(3):
        image, mask = source[index]
        shown, truth, prediction, confidence = seen[index]
        np.testing.assert_array_equal(shown, image)
        np.testing.assert_array_equal(truth, mask)
        logits = np.float64(model(image[None], training=False)[0])
        powers = np.exp(logits - logits.max(axis=-1, keepdims=True))
        expected = (powers / powers.sum(axis=-1, keepdims=True)).max(axis=-1)
        np.testing.assert_allclose(confidence, expected, atol=1e-4)
        details(index, *seen[index])
        assert (prediction == logits.argmax(axis=-1)).mean() > 0.99
    assert details.confusion.scores().overall() == scores.overall()
