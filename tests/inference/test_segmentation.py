import io
import json
import pickle

import numpy as np
import pytest
from PIL import Image

from fcn_keras import InputError
from fcn_keras.data.classes import ClassTable
from fcn_keras.inference.segmentation import Segmentation

CLASSES = ClassTable("own", ("sky", "sea", "sand"), ((200, 0, 0), (0, 100, 0), (0, 0, 50)))


@pytest.fixture
def result():
    mask = np.zeros((10, 20), np.uint8)
    mask[2:6, 3:8] = 2
    image = np.full((10, 20, 3), 100, np.uint8)
    confidence = np.full((10, 20), 0.75, np.float32)
    return Segmentation(image, mask, confidence, CLASSES, lambda image: image[..., :1] / 100)


def test_shares_name_the_classes_found(result):
    assert result.shares == {"sky": 0.9, "sand": 0.1}
    assert repr(result) == "Segmentation(20x10: sky 90.0%, sand 10.0%)"
    assert result.to_dict() == {"width": 20, "height": 10, "shares": {"sky": 0.9, "sand": 0.1}}


def test_probabilities_are_computed_when_asked_for(result):
    assert (result.probabilities == 1).all()
    assert result.probabilities is result.probabilities


def test_a_copy_keeps_the_probabilities_that_were_read(result):
    with pytest.raises(InputError, match="read them there first"):
        _ = pickle.loads(pickle.dumps(result)).probabilities
    _ = result.probabilities
    copy = pickle.loads(pickle.dumps(result))
    assert (copy.probabilities == 1).all()
    np.testing.assert_array_equal(copy.mask, result.mask)


def test_the_overlay_mixes_photo_and_colours(result):
    blend = result.overlay(0.5)
    assert blend[0, 0].tolist() == [150, 50, 50]
    assert blend[3, 4].tolist() == [50, 50, 75]


def test_the_legend_has_a_row_for_each_class_found(result):
    legend = result.legend()
    counts = [(legend == color).all(axis=-1).sum() for color in CLASSES.colors]
    assert counts[1] == 0
    assert counts[0] == counts[2] > 200
    rows = [np.argwhere((legend == CLASSES.colors[i]).all(axis=-1))[:, 0].mean() for i in (0, 2)]
    assert rows[0] < legend.shape[0] / 2 < rows[1]
    assert result.panel().shape == (max(10, len(legend)), 40 + legend.shape[1], 3)


def test_polygons_surround_the_areas(result):
    polygons = result.polygons()
    assert polygons.keys() == {"sky", "sand"}
    (sand,) = polygons["sand"]
    assert sorted(map(tuple, sand.tolist())) == [(3, 2), (3, 5), (7, 2), (7, 5)]


def test_it_is_saved_as_the_ending_says(result, tmp_path):
    for name in ("ids.png", "ids.npy", "shares.json", "blend.jpg"):
        result.save(tmp_path / name)
    with Image.open(tmp_path / "ids.png") as png:
        np.testing.assert_array_equal(np.asarray(png), result.mask)
        assert png.convert("RGB").getpixel((4, 3)) == CLASSES.colors[2]
    np.testing.assert_array_equal(np.load(tmp_path / "ids.npy"), result.mask)
    assert json.loads((tmp_path / "shares.json").read_text()) == result.to_dict()
    with Image.open(tmp_path / "blend.jpg") as blend:
        assert blend.size == (20, 10)
    with pytest.raises(InputError, match=r"must end in one of .png, .npy, .json, .jpg"):
        result.save(tmp_path / "ids.tiff")
    assert len(list(tmp_path.iterdir())) == 4


def test_notebooks_show_the_overlay_and_the_legend(result):
    picture = np.asarray(Image.open(io.BytesIO(result._repr_png_())))
    np.testing.assert_array_equal(picture[:10, :20], result.overlay())
    np.testing.assert_array_equal(picture[: len(result.legend()), 20:], result.legend())
