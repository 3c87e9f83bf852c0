import zipfile

import keras
import numpy as np
import pytest

import fcn_keras
from fcn_keras import InputError
from fcn_keras.inference import Segmenter, load_model

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


def test_one_compile_a_bucket_shape(model):
    segmenter = Segmenter(model, bucket=64)
    shapes = [segmenter(photo(*size)).shape for size in ((1, 1), (37, 64), (64, 20), (65, 20))]
    assert shapes == [(1, 1), (37, 64), (64, 20), (65, 20)]
    assert segmenter.compiles == 2


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


@pytest.mark.parametrize(
    "image",
    [np.zeros((8, 8), np.uint8), np.zeros((8, 8, 4), np.uint8), np.zeros((8, 8, 3)),
     np.zeros((0, 8, 3), np.uint8)],
)  # fmt: skip
def test_other_arrays_are_refused(model, image):
    with pytest.raises(InputError, match=r"must be uint8 \(height, width, 3\)"):
        Segmenter(model)(image)


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
