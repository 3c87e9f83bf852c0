"""Photos that a model sees smaller than they are, against Pillow, the model and JAX's resizing."""

import pickle
from dataclasses import replace

import jax
import keras
import numpy as np
import pytest
from PIL import Image

import fcn_keras
from fcn_keras import InputError
from fcn_keras.data.classes import VOID, ClassTable
from fcn_keras.data.reduced import Reduced, reduced_size
from fcn_keras.evaluation import Evaluator
from fcn_keras.inference import Segmenter, large
from fcn_keras.saving import annotate, describe

CLASSES = ClassTable.numbered(5)
SIZES = [(90, 120), (48, 64), (90, 120), (120, 89)]
SEEN = [(48, 64), (48, 64), (48, 64), (64, 47)]  # with at most 64 pixels a side


@pytest.fixture(scope="module")
def model():
    keras.utils.set_random_seed(3)
    model = fcn_keras.fcn8s(5, backbone_width=4, head_width=8)
    random = np.random.default_rng(1)
    for name in ("score_fr", "score_pool4", "score_pool3"):
        for variable in model.get_layer(name).weights:
            variable.assign(random.normal(size=variable.shape))
    # No class has the highest score everywhere.
    means = model.predict_on_batch(Photos()[1][0][None]).mean(axis=(0, 1, 2))
    bias = model.get_layer("score_fr").bias
    bias.assign(bias - means)
    return model


class Photos:
    """Smooth photos, as real ones are, with random masks."""

    classes, ids = CLASSES, tuple(map(str, range(len(SIZES))))

    def __len__(self):
        return len(SIZES)

    def __getitem__(self, index):
        height, width = SIZES[index]
        random = np.random.default_rng(index)
        small = Image.fromarray(random.integers(0, 256, (9, 9, 3), np.uint8))
        image = np.asarray(small.resize((width, height), Image.Resampling.BICUBIC))
        mask = random.choice([0, 1, 2, 3, 4, VOID], (height, width)).astype(np.uint8)
        return image, mask


def expected_logits(model, image, seen):
    """The model's logits of the photo at its smaller size, enlarged by JAX."""
    small = Image.fromarray(image).resize(seen[::-1], Image.Resampling.BILINEAR)
    logits = model.predict_on_batch(np.asarray(small)[None])[0]
    return np.asarray(jax.image.resize(logits, (*image.shape[:2], 5), "linear"))


@pytest.fixture(scope="module")
def expected(model):
    pairs = [Photos()[index] for index in range(len(SIZES))]
    return [expected_logits(model, image, s) for (image, _), s in zip(pairs, SEEN, strict=True)]


def test_the_longer_side_fits_and_the_shape_stays():
    assert [reduced_size(*size, 64) for size in SIZES] == SEEN
    assert [reduced_size(*size, 0) for size in SIZES] == SIZES
    assert reduced_size(3, 3000, 100) == (1, 100)
    random = np.random.default_rng(0)
    for height, width, most in random.integers(1, 5000, (1000, 3)).tolist():
        rows, columns = reduced_size(height, width, most)
        assert max(rows, columns) == min(most, max(height, width))
        assert abs(rows * width - columns * height) <= max(height, width)  # half a pixel, or one


def test_the_logits_are_those_of_the_smaller_photo_enlarged(model, expected):
    segmenter = Segmenter(model, max_side=64, bucket=64, batch_size=2)
    images = [Photos()[index][0] for index in range(len(SIZES))]
    for logits, classes, found, wanted in zip(
        segmenter.logits(images),
        segmenter(images),
        segmenter.segment(images),
        expected,
        strict=True,
    ):
        np.testing.assert_allclose(logits, wanted, atol=5e-6 * np.ptp(wanted))
        np.testing.assert_array_equal(classes, logits.argmax(axis=-1))
        assert len(np.unique(classes)) > 1
        np.testing.assert_array_equal(found.mask, classes)
        np.testing.assert_allclose(
            found.confidence, np.asarray(jax.nn.softmax(logits)).max(axis=-1), atol=1e-5
        )


@pytest.mark.parametrize("most_pixels", [10**6, 1])  # whole, and in tiles
def test_scores_are_of_the_photos_own_size(model, expected, monkeypatch, most_pixels):
    monkeypatch.setattr(large, "MOST_PIXELS", most_pixels)
    right = loss = count = 0
    for index, logits in enumerate(expected):
        mask = Photos()[index][1]
        labelled = mask != VOID
        right += (logits.argmax(axis=-1) == mask)[labelled].sum()
        log_p = np.asarray(jax.nn.log_softmax(logits))
        loss -= sum(log_p[row, column, mask[row, column]] for row, column in np.argwhere(labelled))
        count += labelled.sum()
    shown = {}
    evaluator = Evaluator(model, max_side=64, bucket=64, batch_size=2)
    scores = evaluator.run(Photos(), observe=lambda index, *arrays: shown.update({index: arrays}))
    assert scores.pixel_accuracy == pytest.approx(right / count, abs=5e-5)
    assert scores.loss == pytest.approx(loss / count, rel=1e-6)
    for index, (image, mask, prediction, confidence) in shown.items():
        np.testing.assert_array_equal(image, Photos()[index][0])
        np.testing.assert_array_equal(mask, Photos()[index][1])
        assert np.mean(prediction == expected[index].argmax(axis=-1)) > 0.9999
        assert confidence == pytest.approx(
            np.asarray(jax.nn.softmax(expected[index])).max(axis=-1), abs=1e-5
        )
    assert len(shown) == len(SIZES)
    unobserved = evaluator.run(Photos())
    assert unobserved.loss == pytest.approx(scores.loss, rel=1e-6)
    np.testing.assert_array_equal(unobserved.iou, scores.iou)


@pytest.mark.slow
def test_a_model_says_how_large_it_sees_photos(model, tmp_path):
    image = Photos()[0][0]
    own = fcn_keras.fcn8s(5, backbone_width=4, head_width=8)
    own.set_weights(model.get_weights())
    annotate(own, replace(describe(own), classes=CLASSES, max_side=64))
    own.save(tmp_path / "model.keras")
    loaded = Segmenter(tmp_path / "model.keras", bucket=64)
    assert loaded.max_side == 64
    smaller = Segmenter(model, bucket=64, max_side=64)(image)
    assert (smaller != Segmenter(model, bucket=64)(image)).any()
    np.testing.assert_array_equal(loaded(image), smaller)
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(loaded))(image), smaller)
    assert Segmenter(own, max_side=0).max_side == 0
    assert Evaluator(own).max_side == 64
    assert Evaluator(own, squash=48).max_side == 0


def test_impossible_sizes_are_named(model):
    for user in (Segmenter, Evaluator):
        with pytest.raises(InputError, match="max_side=-1 is not possible: give pixels, or 0"):
            user(model, max_side=-1)


def test_samples_are_reduced_with_their_masks():
    source = Reduced(Photos(), 64)
    assert (len(source), source.ids, source.classes) == (len(SIZES), Photos.ids, CLASSES)
    for index, (height, width) in enumerate(SEEN):
        (image, mask), (photo, truth) = source[index], Photos()[index]
        wanted = Image.fromarray(photo).resize((width, height), Image.Resampling.BILINEAR)
        np.testing.assert_array_equal(image, np.asarray(wanted))
        # The nearest neighbour of a pixel's centre.
        rows = ((np.arange(height) + 0.5) * truth.shape[0] / height).astype(int)
        columns = ((np.arange(width) + 0.5) * truth.shape[1] / width).astype(int)
        np.testing.assert_array_equal(mask, truth[rows][:, columns])
