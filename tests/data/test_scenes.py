import numpy as np
import pytest
from PIL import Image

from fcn_keras.data import open_dataset
from fcn_keras.data.catalog import open_files
from fcn_keras.data.check import check
from fcn_keras.data.classes import CITYSCAPES, VOID
from fcn_keras.errors import InputError

# What cityscapesScripts' labels.py calls its ids 0 to 33; the rest is not among the 19 classes.
NAMED = {7: "road", 8: "sidewalk", 11: "building", 12: "wall", 13: "fence", 17: "pole"}
NAMED |= {19: "traffic light", 20: "traffic sign", 21: "vegetation", 22: "terrain", 23: "sky"}
NAMED |= {24: "person", 25: "rider", 26: "car", 27: "truck", 28: "bus", 31: "train"}
NAMED |= {32: "motorcycle", 33: "bicycle"}


def save(path, array):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(array).save(path)


@pytest.fixture
def cityscapes(tmp_path):
    """A stand-in in the layout of the archives: two cities, all 34 ids in each mask."""
    ids = np.arange(34, dtype=np.uint8).repeat(2).reshape(4, 17)
    for split, cities in (("train", ("aachen", "ulm")), ("val", ("lindau",))):
        for city in cities:
            name = f"{split}/{city}/{city}_000000_000019"
            save(tmp_path / f"leftImg8bit/{name}_leftImg8bit.png", np.zeros((4, 17, 3), np.uint8))
            save(tmp_path / f"gtFine/{name}_gtFine_labelIds.png", ids)
            save(tmp_path / f"gtFine/{name}_gtFine_instanceIds.png", ids)
    return tmp_path


def test_cityscapes_ids_become_the_19_classes(cityscapes):
    source = open_dataset("cityscapes", cityscapes, "train")
    assert source.ids == ("aachen/aachen_000000_000019", "ulm/ulm_000000_000019")
    image, mask = source[1]
    assert image.shape == (4, 17, 3)
    for written, label in zip(np.arange(34).repeat(2), mask.ravel(), strict=True):
        if written in NAMED:
            assert CITYSCAPES.names[label] == NAMED[written]
        else:
            assert label == VOID
    assert len(open_dataset("cityscapes", cityscapes, "val")) == 1
    report = check({s: open_files("cityscapes", cityscapes, s) for s in ("train", "val")})
    assert report.problems == []
    assert report.splits["train"].pixels.tolist() == [2 * 2] * 19


def test_cityscapes_says_what_is_missing(cityscapes):
    with pytest.raises(InputError, match=r"leftImg8bit/test does not exist; give the folder above"):
        open_dataset("cityscapes", cityscapes, "test")
    next(cityscapes.glob("gtFine/val/*/*labelIds.png")).unlink()
    with pytest.raises(InputError, match=r"lindau_000000_000019_gtFine_labelIds.png of split val"):
        open_dataset("cityscapes", cityscapes, "val")


@pytest.fixture
def ade20k(tmp_path):
    """A stand-in with three classes, of which two share their first name."""
    (tmp_path / "objectInfo150.txt").write_text(
        "Idx\tRatio\tTrain\tVal\tStuff\tName\n"
        "1\t0.1576\t11664\t1172\t1\twall\n"
        "2\t0.1072\t6046\t612\t1\tscreen, silver screen\n"
        "3\t0.0878\t8265\t796\t1\tscreen, door, screen\n"
    )
    for split in ("training", "validation"):
        name = f"ADE_{split[:5]}_00000001"
        save(tmp_path / f"images/{split}/{name}.jpg", np.zeros((2, 2, 3), np.uint8))
        mask = np.array([[0, 1], [2, 3]], np.uint8)
        save(tmp_path / f"annotations/{split}/{name}.png", mask)
    return tmp_path


def test_ade20k_counts_from_1_and_0_is_void(ade20k):
    source = open_dataset("ade20k", ade20k, "val")
    assert source.ids == ("ADE_valid_00000001",)
    assert source.classes.names == ("wall", "screen 2", "screen 3")
    assert source[0][1].tolist() == [[VOID, 0], [1, 2]]
    with pytest.raises(InputError, match="ADE20K has no split test; choose from train, val"):
        open_dataset("ade20k", ade20k, "test")


def test_ade20k_needs_its_classes(ade20k):
    (ade20k / "objectInfo150.txt").write_text("Idx\tName\n2\twall\n")
    with pytest.raises(InputError, match=r"objectInfo150.txt is not numbered from 1 on"):
        open_dataset("ade20k", ade20k, "train")
    (ade20k / "objectInfo150.txt").unlink()
    with pytest.raises(InputError, match=r"objectInfo150.txt does not exist; it is in ADEChall"):
        open_dataset("ade20k", ade20k, "train")
