import numpy as np
import pytest
from PIL import Image

from fcn_keras.data import open_dataset
from fcn_keras.data.classes import VOC
from fcn_keras.data.folder import is_validation, read_classes
from fcn_keras.errors import InputError

NAMES = [f"photo{index}" for index in range(40)]


@pytest.fixture
def root(tmp_path):
    for folder in ("images", "masks"):
        (tmp_path / folder).mkdir()
    (tmp_path / "classes.txt").write_text("background 0 0 0\npolar bear 250 250 255\n")
    for name in NAMES:
        Image.fromarray(np.zeros((4, 4, 3), np.uint8)).save(tmp_path / f"images/{name}.jpg")
        Image.fromarray(np.eye(4, dtype=np.uint8)).save(tmp_path / f"masks/{name}.png")
    return tmp_path


def test_splits_by_name_and_never_moves_a_photo(root):
    train, val = open_dataset("folder", root, "train"), open_dataset("folder", root, "val")
    assert sorted(train.ids + val.ids) == sorted(NAMES)
    assert 3 <= len(val) <= 14
    (root / "images" / f"{val.ids[0]}.jpg").unlink()
    assert set(open_dataset("folder", root, "val").ids) == set(val.ids[1:])
    assert open_dataset("folder", root, "train").ids == train.ids


def test_a_fifth_goes_to_validation():
    assert abs(sum(is_validation(f"IMG_{n:05d}") for n in range(5000)) / 5000 - 0.2) < 0.02


def test_split_files_decide_where_they_are(root):
    (root / "val.txt").write_text("photo3\nphoto1\n")
    assert open_dataset("folder", root, "val").ids == ("photo3", "photo1")
    with pytest.raises(InputError, match=r"train.txt does not exist; write one image name a line"):
        open_dataset("folder", root, "train")
    (root / "train.txt").write_text("photo99\n")
    with pytest.raises(InputError, match=r"train.txt names photo99, but .*images has no such"):
        open_dataset("folder", root, "train")


def test_masks_by_index_and_by_colour(root):
    (root / "val.txt").write_text("photo0\nphoto1\n")
    colored = np.zeros((4, 4, 3), np.uint8)
    colored[0] = (250, 250, 255)
    colored[1] = (224, 224, 192)
    Image.fromarray(colored).save(root / "masks/photo1.png")
    source = open_dataset("folder", root, "val")
    assert source.classes.names == ("background", "polar bear")
    np.testing.assert_array_equal(source[0][1], np.eye(4))
    assert source[1][1][:, 0].tolist() == [1, 255, 0, 0]


def test_classes_without_colours_get_vocs(root):
    (root / "classes.txt").write_text("background\n\npolar bear\n")
    classes, has_colors = read_classes(root / "classes.txt")
    assert classes.colors == VOC.colors[:2] and not has_colors
    source = open_dataset("folder", root, "train")
    Image.fromarray(np.zeros((4, 4, 3), np.uint8)).save(source.masks[0])
    with pytest.raises(InputError, match="is a RGB picture, but class indices are expected"):
        source[0]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("\n", "is empty; write one class a line"),
        ("a 0 0 0\nb\n", "gives 1 colours for 2 classes"),
        ("a 0 0 0\nb 0 0 300\n", "gives 1 colours for 2 classes"),
        ("a 0 0 0\nb 0 0 0\n", "repeats a name or a colour"),
        ("a\na\n", "repeats a name or a colour"),
    ],
)
def test_bad_class_lists(root, content, message):
    (root / "classes.txt").write_text(content)
    with pytest.raises(InputError, match=rf"class list .*/classes.txt {message}"):
        open_dataset("folder", root)


def test_missing_parts_are_named(root):
    with pytest.raises(InputError, match=r"photo5.png of split"):
        (root / "masks/photo5.png").unlink()
        [open_dataset("folder", root, split) for split in ("train", "val")]
    with pytest.raises(InputError, match=r"photo7.jpg and photo7.png in .*images share a name"):
        (root / "images/photo7.png").write_bytes(b"")
        open_dataset("folder", root)
    with pytest.raises(InputError, match=r"no such split|holiday.txt does not exist"):
        (root / "images/photo7.png").unlink()
        open_dataset("folder", root, "holiday")
    for image in (root / "images").iterdir():
        image.unlink()
    with pytest.raises(InputError, match=r"split train of .* is empty \(0 images in all\)"):
        open_dataset("folder", root)
    (root / "images").rmdir()
    with pytest.raises(InputError, match=r"image folder .*/images does not exist"):
        open_dataset("folder", root)
    (root / "classes.txt").unlink()
    with pytest.raises(InputError, match=r"class list .*/classes.txt does not exist"):
        open_dataset("folder", root)
