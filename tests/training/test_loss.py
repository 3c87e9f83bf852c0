import keras
import numpy as np
import pytest

from fcn_keras.training import cross_entropy

VOID = 255


@pytest.fixture
def sample():
    rng = np.random.default_rng(0)
    logits = rng.normal(size=(2, 5, 7, 4)).astype("float32") * 3
    mask = rng.integers(0, 4, (2, 5, 7)).astype("uint8")
    mask[0, :2] = VOID
    mask[1, 3, 3] = VOID
    return logits, mask


def test_equals_a_loop_over_pixels(sample):
    logits, mask = sample
    total, count = 0.0, 0
    for scores, label in zip(logits.reshape(-1, 4).astype("float64"), mask.ravel(), strict=True):
        if label != VOID:
            total -= np.log(np.exp(scores[label]) / np.exp(scores).sum())
            count += 1
    loss, pixels = cross_entropy(logits, mask)
    assert int(pixels) == count == 2 * 35 - 15
    assert float(loss) == pytest.approx(total, rel=1e-6)


def test_mean_equals_keras_with_ignored_class(sample):
    logits, mask = sample
    loss, pixels = cross_entropy(logits, mask)
    keras_loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True, ignore_class=VOID)
    assert float(loss / pixels) == pytest.approx(float(keras_loss(mask, logits)), rel=1e-6)


def test_void_pixels_count_for_nothing_even_with_infinite_logits(sample):
    logits, mask = sample
    expected = [float(x) for x in cross_entropy(logits, mask)]
    logits[mask == VOID] = np.inf
    assert [float(x) for x in cross_entropy(logits, mask)] == expected


def test_all_void_is_zero_not_nan(sample):
    logits, mask = sample
    loss, pixels = cross_entropy(logits, np.full_like(mask, VOID))
    assert (float(loss), float(pixels)) == (0, 0)


def test_class_weights_equal_a_weighted_loop(sample):
    logits, mask = sample
    weights = [0.5, 2.0, 0.0, 1.0]
    total, count = 0.0, 0.0
    for scores, label in zip(logits.reshape(-1, 4).astype("float64"), mask.ravel(), strict=True):
        if label != VOID:
            total -= weights[label] * np.log(np.exp(scores[label]) / np.exp(scores).sum())
            count += weights[label]
    found = [float(x) for x in cross_entropy(logits, mask, weights)]
    assert found == pytest.approx([total, count], rel=1e-6)
