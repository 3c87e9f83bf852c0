import numpy as np
import pytest
from PIL import Image

from fcn_keras.data import open_dataset
from fcn_keras.data.classes import CAMVID
from fcn_keras.data.pairs import pairs_source
from fcn_keras.errors import InputError


@pytest.fixture
def root(tmp_path):
    for folder in ("img", "ann"):
        (tmp_path / folder).mkdir()
    for index in range(2):
        Image.fromarray(np.full((3, 4, 3), index, np.uint8)).save(tmp_path / f"img/{index}.png")
        mask = np.array([[0, 10, 11, 255]] * 3, np.uint8)
        Image.fromarray(mask).save(tmp_path / f"ann/{index}.png")
    (tmp_path / "train.txt").write_text("img/0.png ann/0.png\n\nimg/1.png ann/1.png\n")
    return tmp_path


def test_label_11_of_camvid_is_void(root):
    source = open_dataset("camvid", root)
    assert source.ids == ("0", "1") and source.classes is CAMVID
    image, mask = source[1]
    assert mask.tolist() == [[0, 10, 255, 255]] * 3
    assert (image == 1).all()


def test_without_an_ignored_label_11_is_refused(root):
    with pytest.raises(InputError, match=r"mask 0.png holds label 11, but the data set has 11"):
        pairs_source(root, "train", CAMVID)[0]


def test_bad_lists_are_named(root):
    with pytest.raises(InputError, match=r"val.txt does not exist; write one `image mask` pair"):
        open_dataset("camvid", root, "val")
    (root / "val.txt").write_text("")
    with pytest.raises(InputError, match=r"val.txt is empty"):
        open_dataset("camvid", root, "val")
    (root / "val.txt").write_text("img/0.png ann/0.png\nimg/1.png\n")
    with pytest.raises(InputError, match=r"val.txt line 2 is 'img/1.png'; write `image mask`"):
        open_dataset("camvid", root, "val")
    (root / "val.txt").write_text("img/0.png ann/9.png\n")
    with pytest.raises(InputError, match=r"ann/9.png of split val does not exist \(1 of 2"):
        open_dataset("camvid", root, "val")


def test_real_camvid(shared_data):
    sizes = [
        len(open_dataset("camvid", shared_data / "CamVid", s)) for s in ("train", "val", "test")
    ]
    assert sizes == [367, 101, 233]
    image, mask = open_dataset("camvid", shared_data / "CamVid", "val")[0]
    assert image.shape == (360, 480, 3)
    assert set(np.unique(mask)) <= {*range(11), 255}
