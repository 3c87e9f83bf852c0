"""Classes and confidence against NumPy's."""

import numpy as np

from fcn_keras.models.scores import class_map, confidence


def test_classes_are_numpys_even_of_equal_scores():
    scores = np.random.default_rng(0).integers(-3, 3, (2, 40, 50, 21)).astype("float32")
    scores[scores == -3] = -0.0  # equal to 0 and often before it
    found = np.asarray(class_map(scores))
    assert found.dtype == np.uint8
    np.testing.assert_array_equal(found, scores.argmax(axis=-1))


def test_confidence_is_the_largest_probability():
    scores = np.random.default_rng(0).normal(0, 30, (2, 40, 50, 21)).astype("float32")
    powers = np.exp(scores.astype("float64"))
    expected = (powers / powers.sum(axis=-1, keepdims=True)).max(axis=-1)
    np.testing.assert_allclose(np.asarray(confidence(scores)), expected, rtol=1e-6)
