import dataclasses

import keras
import numpy as np
import pytest

import fcn_keras
from fcn_keras import InputError
from fcn_keras.data.classes import CAMVID, SHAPES, VOID
from fcn_keras.evaluation import Evaluator


@dataclasses.dataclass
class Images:
    """Random images and masks of given sizes."""

    sizes: list
    classes: object = SHAPES

    def __post_init__(self):
        self.ids = tuple(f"sample{i}" for i in range(len(self.sizes)))

    def __len__(self):
        return len(self.sizes)

    def __getitem__(self, index):
        random = np.random.default_rng(index)
        image = random.integers(0, 256, (*self.sizes[index], 3), np.uint8)
        mask = random.choice([0, 1, 2, 3, 4, 5, VOID], self.sizes[index]).astype(np.uint8)
        return image, mask


SIZES = [(40, 50), (33, 64), (50, 40), (40, 50), (1, 1), (64, 64), (40, 50)]


@pytest.fixture(scope="module")
def model():
    keras.utils.set_random_seed(3)
    model = fcn_keras.fcn8s(6, backbone_width=4, head_width=8)
    randomize(model)
    return model


def randomize(model):
    random = np.random.default_rng(5)
    for name in ("score_fr", "score_pool4", "score_pool3"):
        for variable in model.get_layer(name).weights:
            variable.assign(random.normal(size=variable.shape))


def independent(model, source):
    """Prediction and cross-entropy of one image at a time, in float64 NumPy."""
    right = loss = count = 0
    for index in range(len(source)):
        image, mask = source[index]
        logits = np.float64(model(image[None], training=False)[0])
        logits -= logits.max(axis=-1, keepdims=True)
        log_p = logits - np.log(np.exp(logits).sum(axis=-1, keepdims=True))
        for (row, column), label in np.ndenumerate(mask):
            if label != VOID:
                right += logits[row, column].argmax() == label
                loss -= log_p[row, column, label]
                count += 1
    return right / count, loss / count


@pytest.mark.slow
def test_exact_sizes_give_the_scores_of_one_image_at_a_time(model):
    source = Images([(40, 50), (1, 1), (40, 50)])
    scores = Evaluator(model, bucket=1).run(source)
    accuracy, loss = independent(model, source)
    assert scores.pixel_accuracy == pytest.approx(accuracy, abs=1e-12)
    assert scores.loss == pytest.approx(loss, rel=1e-5)


@pytest.mark.slow
def test_batches_change_nothing(model):
    source = Images(SIZES)
    one = Evaluator(model, batch_size=1, bucket=64).run(source)
    many = Evaluator(model, batch_size=3, bucket=64).run(source)
    assert many.loss == pytest.approx(one.loss, rel=1e-5)
    np.testing.assert_allclose(many.iou, one.iou, atol=1e-3)
    assert many.pixel_accuracy == pytest.approx(one.pixel_accuracy, abs=1e-3)


def test_padding_is_neither_scored_nor_seen(model):
    source = Images([(40, 50), (1, 1), (33, 64)])
    exact = Evaluator(model, bucket=1).run(source)
    padded = Evaluator(model, bucket=96, batch_size=3).run(source)
    assert padded.loss == pytest.approx(exact.loss, rel=1e-5)
    assert padded.pixel_accuracy == pytest.approx(exact.pixel_accuracy, abs=1e-3)


@pytest.mark.slow
def test_flips_and_scales_do_not_see_the_padding_either(model):
    source = Images([(40, 50), (33, 64)])
    views = {"flip": True, "scales": (0.75, 1.5)}
    plain = Evaluator(model, bucket=1).run(source)
    exact = Evaluator(model, bucket=1, **views).run(source)
    padded = Evaluator(model, bucket=96, batch_size=3, **views).run(source)
    assert padded.loss == pytest.approx(exact.loss, rel=1e-5)
    assert padded.loss != pytest.approx(plain.loss, rel=1e-3)
    assert padded.pixel_accuracy == pytest.approx(exact.pixel_accuracy, abs=1e-3)


@pytest.mark.slow
def test_one_compile_a_bucket_shape_even_when_the_weights_change(model):
    source = Images(SIZES)
    own = fcn_keras.fcn8s(6, backbone_width=4, head_width=8)
    evaluator = Evaluator(own, batch_size=2, bucket=32)
    before = evaluator.run(source)
    assert before.loss == pytest.approx(np.log(6), rel=1e-5)  # zero scores
    assert evaluator.compiles == 2  # 64 x 64 and 32 x 32
    randomize(own)
    after = evaluator.run(source)
    assert after.loss != before.loss
    assert evaluator.compiles == 2


def test_progress_counts_images(model):
    seen = []
    Evaluator(model, batch_size=2, bucket=64).run(Images(SIZES), lambda *done: seen.append(done))
    assert seen == [(2, 7), (4, 7), (6, 7), (7, 7)]


def test_squashing_scores_the_resized_mask(model):
    seen = []

    class Recorder(Evaluator):
        def _read(self, source, index):
            sample = super()._read(source, index)
            seen.append((sample.image.shape, sample.mask.shape, set(np.unique(sample.mask))))
            return sample

    Recorder(model, bucket=1, squash=48).run(Images([(40, 50), (90, 70)]))
    for image, mask, labels in seen:
        assert (image, mask) == ((48, 48, 3), (48, 48))
        assert labels <= {0, 1, 2, 3, 4, 5, VOID}


def test_an_image_of_void_alone_has_no_score(model):
    source = Images([(8, 8)])
    source.__class__ = type("Void", (Images,), {"__getitem__": lambda s, i: void_sample()})
    scores = Evaluator(model, bucket=32).run(source)
    assert np.isnan([scores.pixel_accuracy, scores.mean_iou, scores.loss]).all()


def void_sample():
    return np.zeros((8, 8, 3), np.uint8), np.full((8, 8), VOID, np.uint8)


def test_another_number_of_classes_is_named(model):
    message = "model fcn8s has 6 classes, but the data set camvid has 11: "
    with pytest.raises(InputError, match=message):
        Evaluator(model).run(Images(SIZES, CAMVID))


def test_a_label_out_of_range_names_the_mask(model):
    source = Images([(8, 8)])
    source.__class__ = type("Bad", (Images,), {"__getitem__": lambda s, i: bad_sample()})
    with pytest.raises(InputError, match="mask sample0 holds label 9, but the data set has 6 cl"):
        Evaluator(model, bucket=32).run(source)


def bad_sample():
    return np.zeros((8, 8, 3), np.uint8), np.full((8, 8), 9, np.uint8)


@pytest.mark.parametrize("option", [{"batch_size": 0}, {"bucket": 0}, {"squash": 0}])
def test_options_below_one_are_refused(model, option):
    with pytest.raises(InputError, match=f"{next(iter(option))}=0"):
        Evaluator(model, **option)
