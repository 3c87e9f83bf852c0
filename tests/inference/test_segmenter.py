import pickle
import zipfile
from concurrent.futures import ThreadPoolExecutor

import keras
import numpy as np
import pytest

import fcn_keras
from fcn_keras import InputError
from fcn_keras.cpu import allocator
from fcn_keras.data.classes import ClassTable
from fcn_keras.evaluation import Evaluator
from fcn_keras.inference import Segmenter, compiled, large, load_model

# Keras copies its variables in a way that NumPy 2 wants spelled differently.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation doesn't accept a copy")


@pytest.fixture(scope="module")
def model():
    model = fcn_keras.fcn8s(5, backbone_width=4, head_width=8)
    random = np.random.default_rng(1)
    for name in ("score_fr", "score_pool4", "score_pool3"):
        for variable in model.get_layer(name).weights:
            variable.assign(random.normal(size=variable.shape))
    return model


def photo(height, width):
    return np.random.default_rng(height).integers(0, 256, (height, width, 3), np.uint8)


def test_exact_sizes_equal_the_model(model):
    image = photo(37, 53)
    expected = np.asarray(model(image[None], training=False))[0]
    segmenter = Segmenter(model, bucket=1)
    np.testing.assert_allclose(segmenter.logits(image), expected, atol=1e-4)
    classes = segmenter(image)
    assert (classes.dtype, classes.shape) == (np.uint8, (37, 53))
    np.testing.assert_array_equal(classes, expected.argmax(axis=-1))


@pytest.mark.slow
def test_one_compile_a_bucket_shape(model):
    segmenter = Segmenter(model, bucket=64)
    shapes = [segmenter(photo(*size)).shape for size in ((1, 1), (37, 64), (64, 20), (65, 20))]
    assert shapes == [(1, 1), (37, 64), (64, 20), (65, 20)]
    assert segmenter.compiles == 2


def test_memory_is_given_back_after_reading_and_compiling(model, monkeypatch):
    given = []
    monkeypatch.setattr(allocator, "trim", lambda spare=0: given.append(spare))
    segmenter = Segmenter(model, bucket=64)
    assert given == [allocator.FOR_A_PHOTO]
    for size, times in (((20, 20), 2), ((64, 30), 2), ((20, 70), 3)):
        segmenter(photo(*size))
        assert len(given) == times


def test_new_weights_are_seen_without_compiling_again(model):
    own = keras.models.clone_model(model)
    segmenter = Segmenter(own, bucket=32)
    image = photo(20, 20)
    assert not segmenter.logits(image).any()  # scores start at zero
    own.get_layer("score_fr").bias.assign([0, 0, 7, 0, 0])
    assert (segmenter(image) == 2).all()
    assert (segmenter.logits(image) > 0).all(axis=(0, 1)).tolist() == [
        False,
        False,
        True,
        False,
        False,
    ]
    assert segmenter.compiles == 2  # the class map and the logits


def test_a_saved_model_is_read_from_its_path(model, tmp_path):
    model.save(tmp_path / "model.keras")
    segmenter = Segmenter(tmp_path / "model.keras", bucket=1)
    image = photo(20, 31)
    np.testing.assert_array_equal(segmenter(image), Segmenter(model, bucket=1)(image))


def test_files_that_are_no_models_are_named(model, tmp_path):
    with pytest.raises(InputError, match=r"absent.keras is not a file"):
        load_model(tmp_path / "absent.keras")
    (tmp_path / "text.keras").write_text("hello")
    with pytest.raises(InputError, match=r"text.keras is not a .keras file, or a damaged one"):
        load_model(tmp_path / "text.keras")
    with zipfile.ZipFile(tmp_path / "other.keras", "w") as file:
        file.writestr("notes.txt", "hello")
    with pytest.raises(InputError, match=r"other.keras can't be read"):
        load_model(tmp_path / "other.keras")
    model.save(tmp_path / "model.keras")
    content = (tmp_path / "model.keras").read_bytes()
    (tmp_path / "cut.keras").write_bytes(content[: len(content) // 2])
    with pytest.raises(InputError, match=r"cut.keras is not a .keras file, or a damaged one"):
        load_model(tmp_path / "cut.keras")
    changed = bytearray(content)
    changed[len(content) // 2] ^= 0xFF
    (tmp_path / "changed.keras").write_bytes(changed)
    with pytest.raises(InputError, match=r"changed.keras can't be read: "):
        load_model(tmp_path / "changed.keras")


@pytest.mark.parametrize("shape", [(None, None, 1), (None, 3)])
def test_a_model_that_does_not_segment_is_named(shape, tmp_path):
    inputs = keras.Input(shape)
    keras.Model(inputs, keras.layers.Dense(4)(inputs)).save(tmp_path / "dense.keras")
    with pytest.raises(InputError, match=r"dense.keras maps .* but a segmentation model maps"):
        load_model(tmp_path / "dense.keras")


class One:
    """A data set of one sample."""

    ids, classes = ("one",), ClassTable.numbered(5)

    def __init__(self, *sample):
        self.sample = sample

    def __len__(self):
        return 1

    def __getitem__(self, index):
        return self.sample


@pytest.mark.slow
def test_flips_and_scales_are_the_evaluators(model):
    image, mask = photo(40, 50), np.zeros((40, 50), np.uint8)
    segmenter = Segmenter(model, bucket=32, flip=True, scales=(0.75, 1.0))
    evaluator = Evaluator(model, bucket=32, flip=True, scales=(0.75, 1.0))
    source = One(image, mask)
    probabilities = segmenter.probabilities(image)
    np.testing.assert_allclose(probabilities.sum(axis=-1), 1, atol=1e-5)
    expected = -np.log(probabilities[..., 0]).mean()
    assert evaluator.run(source).loss == pytest.approx(expected, rel=1e-5)


@pytest.mark.slow
def test_a_list_gives_a_list_in_its_order(model):
    sizes = [(20, 31), (70, 20), (25, 30), (64, 64), (1, 1)]
    one, many = Segmenter(model, bucket=32), Segmenter(model, bucket=32, batch_size=2)
    photos = [photo(*size) for size in sizes]
    for image, mask in zip(photos, many(photos), strict=True):
        np.testing.assert_array_equal(mask, one(image))
    assert many([]) == []
    # Two of 32 x 32 and one more, one each of 96 x 32 and 64 x 64.
    assert many.compiles == 4


@pytest.mark.slow
def test_large_photos_run_in_tiles_with_the_same_result(model, monkeypatch):
    image = photo(300, 200)
    exact = Segmenter(model, bucket=1)
    expected, scored = exact(image), exact.segment(image)
    monkeypatch.setattr(large, "MOST_PIXELS", 1000)
    segmenter = Segmenter(model)
    found = segmenter.segment(image)
    assert segmenter.compiles == 4  # the stages of tiles
    assert (segmenter(image) == expected).mean() > 0.9999
    np.testing.assert_array_equal(found.mask, segmenter(image))
    np.testing.assert_allclose(found.confidence, scored.confidence, atol=1e-4)
    np.testing.assert_allclose(found.probabilities.max(axis=-1), found.confidence, atol=1e-6)
    np.testing.assert_allclose(segmenter.logits(image), exact.logits(image), atol=1e-4)


@pytest.mark.slow
def test_validation_of_large_photos_runs_in_tiles(model, monkeypatch):
    labels = np.random.default_rng(0).choice([0, 1, 4, 255], (300, 200)).astype(np.uint8)
    source = One(photo(300, 200), labels)
    exact = Evaluator(model, bucket=1).run(source)
    monkeypatch.setattr(large, "MOST_PIXELS", 1000)
    evaluator = Evaluator(model, batch_size=2)
    found = evaluator.run(source)
    assert evaluator.compiles == 4
    assert found.loss == pytest.approx(exact.loss, rel=1e-5)
    assert found.pixel_accuracy == pytest.approx(exact.pixel_accuracy, abs=1e-4)


def test_threads_share_a_segmenter(model):
    segmenter = Segmenter(model, bucket=32)
    photos = [photo(20 + 13 * (i % 4), 31) for i in range(12)]
    with ThreadPoolExecutor(4) as pool:
        masks = list(pool.map(segmenter, photos))
    for image, mask in zip(photos, masks, strict=True):
        np.testing.assert_array_equal(mask, segmenter(image))
    assert segmenter.compiles == 2  # 32 and 64 rows


@pytest.mark.slow
def test_a_pickled_segmenter_does_the_same(model):
    classes = ClassTable("own", tuple("abcde"), tuple((i, i, i) for i in range(5)))
    segmenter = Segmenter(model, bucket=32, flip=True, classes=classes)
    copy = pickle.loads(pickle.dumps(segmenter))
    image = photo(20, 31)
    np.testing.assert_array_equal(copy(image), segmenter(image))
    assert copy.classes == segmenter.classes


@pytest.mark.slow
def test_old_shapes_are_forgotten(model, monkeypatch):
    monkeypatch.setattr(compiled, "MAX_SHAPES", 2)
    segmenter = Segmenter(model, bucket=16)
    for side in (16, 32, 48, 16, 48):
        segmenter(photo(side, 16))
    assert segmenter.compiles == 4  # 16 was forgotten for 48, which is still there


def test_wrong_classes_and_options_are_named(model):
    with pytest.raises(InputError, match="classes has 4 classes, but model fcn8s has 5: give one"):
        Segmenter(model, classes=ClassTable.numbered(4))
    with pytest.raises(InputError, match="batch_size=0"):
        Segmenter(model, batch_size=0)
    with pytest.raises(InputError, match=r"scales=\(\)"):
        Segmenter(model, scales=())


@pytest.mark.slow
def test_bfloat16_is_near_and_leaves_the_model_as_it_was(model):
    image = photo(37, 53)
    exact = Segmenter(model).logits(image)
    segmenter = Segmenter(model, precision="bfloat16")
    assert segmenter.model.get_layer("fc6").compute_dtype == "bfloat16"
    assert model.get_layer("fc6").compute_dtype == "float32"
    rounded = segmenter.logits(image)
    assert rounded.dtype == np.float32
    # A bfloat16 has 8 bits of mantissa; a dozen layers round.
    assert 1e-6 < np.abs(rounded - exact).max() / np.ptp(exact) < 0.01
    back = Segmenter(segmenter.model, precision="float32").logits(image)
    assert 1e-6 < np.abs(back - exact).max() / np.ptp(exact) < 0.01  # of rounded kernels
    with pytest.raises(InputError, match="precision='float16' is not one of float32, bfloat16"):
        Segmenter(model, precision="float16")
