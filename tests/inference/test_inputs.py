import io

import numpy as np
import pytest
from PIL import Image

from fcn_keras import InputError
from fcn_keras.inference import inputs
from fcn_keras.inference.inputs import read_photo


@pytest.fixture
def image():
    return np.random.default_rng(0).integers(0, 256, (6, 9, 3), np.uint8)


def test_everything_that_shows_the_photo_gives_its_pixels(image, tmp_path):
    Image.fromarray(image).save(tmp_path / "photo.png")
    opaque = np.dstack([image, np.full(image.shape[:2], 255, np.uint8)])
    for photo in (
        tmp_path / "photo.png",
        str(tmp_path / "photo.png"),
        Image.fromarray(image),
        Image.fromarray(opaque),
        image,
        opaque,
        image.astype(np.float32),
        image + 0.25,
    ):
        found = read_photo(photo)
        assert found.dtype == np.uint8
        np.testing.assert_array_equal(found, image)


def test_gray_becomes_rgb(image):
    gray = image[..., 0]
    expected = np.repeat(gray[..., None], 3, axis=2)
    for photo in (gray, gray[..., None], gray.astype(np.float64), Image.fromarray(gray)):
        np.testing.assert_array_equal(read_photo(photo), expected)


def test_pil_images_are_turned_upright(image):
    turned = Image.fromarray(image)
    exif = turned.getexif()
    exif[0x0112] = 6
    file = io.BytesIO()
    turned.save(file, "PNG", exif=exif)
    found = read_photo(Image.open(file))
    np.testing.assert_array_equal(found, np.rot90(image, -1))


def test_an_address_is_fetched_up_to_a_limit(image, file_server, monkeypatch):
    file = io.BytesIO()
    Image.fromarray(image).save(file, "PNG")
    file_server.body = file.getvalue()
    np.testing.assert_array_equal(read_photo(f"{file_server.url}/photo"), image)
    monkeypatch.setattr(inputs, "MOST_BYTES", len(file_server.body) - 1)
    for file_server.sized in (True, False):
        with pytest.raises(InputError, match="/photo has more than 0 MB: save it"):
            read_photo(f"{file_server.url}/photo")
    with pytest.raises(InputError, match=r"can't fetch .*missing"):
        read_photo(f"{file_server.url}/missing")


@pytest.mark.parametrize(
    ("array", "message"),
    [
        (np.full((4, 4, 3), 0.5), r"float values up to 0.5, and looks scaled to 0..1"),
        (np.full((4, 4, 3), 300.0), "values from 300 to 300, but must have 0..255"),
        (np.full((4, 4, 3), -1.0), "values from -1 to -1"),
        (np.full((4, 4, 3), np.nan), "values from nan to nan"),
        (np.zeros((4, 4, 3), np.int64), "is int64, but must be uint8, or float with 0..255"),
        (np.zeros((4, 4, 2), np.uint8), r"has shape \(4, 4, 2\), but must be"),
        (np.zeros((0, 4, 3), np.uint8), r"has shape \(0, 4, 3\)"),
        (np.zeros((4, 4, 4), np.uint8), "has transparent pixels"),
    ],
)
def test_other_arrays_are_refused(array, message):
    with pytest.raises(InputError, match=message):
        read_photo(array)


def test_black_floats_are_a_black_photo():
    assert not read_photo(np.zeros((2, 2, 3))).any()
