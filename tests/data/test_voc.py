import numpy as np
import pytest
from PIL import Image
from scipy.io import savemat

from fcn_keras.data import open_dataset
from fcn_keras.data.classes import VOC
from fcn_keras.data.voc import voc_source
from fcn_keras.errors import InputError


def write(path, value, size=(4, 6)):
    path.parent.mkdir(parents=True, exist_ok=True)
    shape = (*size, 3) if path.suffix == ".jpg" else size
    Image.fromarray(np.full(shape, value, np.uint8)).save(path)


@pytest.fixture
def root(tmp_path):
    """A tiny VOC2012: train a, b; val c; the masks hold 1, 2, 3."""
    voc = tmp_path / "VOCdevkit" / "VOC2012"
    lists = voc / "ImageSets" / "Segmentation"
    lists.mkdir(parents=True)
    for split, ids in (("train", "ab"), ("val", "c"), ("trainval", "abc")):
        (lists / f"{split}.txt").write_text("\n".join(ids) + "\n")
    for label, name in enumerate("abc", 1):
        write(voc / "JPEGImages" / f"{name}.jpg", 50 * label)
        write(voc / "SegmentationClass" / f"{name}.png", label)
    return voc


def labels(source):
    return {name: int(source[i][1][0, 0]) for i, name in enumerate(source.ids)}


def test_finds_the_root_from_above(root):
    for folder in (root, root.parent, root.parent.parent):
        source = open_dataset("voc2012", folder, "trainval")
        assert labels(source) == {"a": 1, "b": 2, "c": 3}
    image, mask = source[1]
    assert (image.shape, mask.shape, image.dtype, mask.dtype) == ((4, 6, 3), (4, 6), "u1", "u1")
    assert source.classes is VOC and len(source) == 3


def test_trainaug_prefers_ready_masks(root):
    (root / "ImageSets/Segmentation/trainaug.txt").write_text("a\nd\n")
    write(root / "JPEGImages/d.jpg", 9)
    for name in "ad":
        write(root / "SegmentationClassAug" / f"{name}.png", 7)
    assert labels(open_dataset("voc2012", root, "trainaug")) == {"a": 7, "d": 7}


@pytest.mark.parametrize("beside", ["..", "../..", "."])
def test_trainaug_reads_sbd_beside_voc(root, beside):
    sbd = root / beside / "benchmark_RELEASE" / "dataset"
    (sbd / "cls").mkdir(parents=True)
    (sbd / "train.txt").write_text("a\nd\n")
    (sbd / "val.txt").write_text("c\ne\n")  # c is in VOC's val, so not for training
    for label, name in enumerate("acde", 11):
        segmentation = np.full((4, 6), label, np.uint8)
        savemat(sbd / "cls" / f"{name}.mat", {"GTcls": {"Segmentation": segmentation}})
    for name in "de":
        write(root / "JPEGImages" / f"{name}.jpg", 9)
    # VOC's own masks where there are any, since SBD's have no void borders
    assert labels(open_dataset("voc2012", root, "trainaug")) == {"a": 1, "b": 2, "d": 13, "e": 14}


def test_trainaug_without_sbd_says_what_to_do(root):
    with pytest.raises(
        InputError, match=r"needs SegmentationClassAug or benchmark_RELEASE \(SBD\)"
    ):
        open_dataset("voc2012", root, "trainaug")


def test_seg11valid_ships_with_the_package(root, shared_data):
    source = voc_source(root, "seg11valid")
    assert len(set(source.ids)) == 736
    lists = shared_data / "VOC2012" / "ImageSets" / "Segmentation"
    assert list(source.ids) == (lists / "seg11valid_official.txt").read_text().split()
    present = (lists / "seg11valid.txt").read_text().split()
    assert len(open_dataset("voc2012", shared_data / "VOC2012", "seg11valid")) == len(present)


def test_real_voc(shared_data):
    source = open_dataset("voc2012", shared_data, "val")
    assert (len(source), source.ids[0]) == (335, "2007_000033")
    image, mask = source[0]
    assert image.shape == (366, 500, 3)
    assert np.unique(mask).tolist() == [0, 1, 255]


def test_splits_are_joined_and_name_a_sample_once(shared_data):
    root = shared_data / "VOC2012"
    parts = {name: open_dataset("voc2012", root, name) for name in ("seg11valid", "val2008")}
    both = open_dataset("voc2012", root, "seg11valid+val2008+seg11valid")
    assert both.ids == parts["seg11valid"].ids + parts["val2008"].ids
    for index, (name, part) in ((3, ("seg11valid", 3)), (len(both) - 2, ("val2008", -2))):
        for ours, expected in zip(both[index], parts[name][part], strict=True):
            np.testing.assert_array_equal(ours, expected)


def test_missing_things_are_named(root, tmp_path):
    with pytest.raises(InputError, match=r"data folder /nowhere does not exist"):
        open_dataset("voc2012", "/nowhere")
    (tmp_path / "empty").mkdir()
    with pytest.raises(
        InputError, match=r"empty holds no ImageSets/Segmentation; give the VOC2012"
    ):
        open_dataset("voc2012", tmp_path / "empty")
    with pytest.raises(InputError, match=r"test.txt does not exist; splits there: train, trainval"):
        open_dataset("voc2012", root, "test")
    (root / "ImageSets/Segmentation/val.txt").write_text("\n")
    with pytest.raises(InputError, match=r"val.txt is empty; write one sample name a line"):
        open_dataset("voc2012", root, "val")
    (root / "JPEGImages/b.jpg").unlink()
    (root / "SegmentationClass/a.png").unlink()
    with pytest.raises(
        InputError,
        match=r"file .*/b.jpg of split train does not exist \(2 of 4 missing\); complete",
    ):
        open_dataset("voc2012", root, "train")


def test_sizes_must_agree(root):
    write(root / "SegmentationClass/a.png", 1, size=(5, 6))
    with pytest.raises(
        InputError, match=r"mask a.png is 6 x 5 pixels, but image a.jpg is 6 x 4; make the mask"
    ):
        open_dataset("voc2012", root)[0]


def test_a_mask_of_the_unturned_photo_is_recognised(root):
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(np.zeros((4, 6, 3), np.uint8)).save(root / "JPEGImages/a.jpg", exif=exif)
    with pytest.raises(
        InputError, match=r"image a.jpg is 4 x 6 once turned upright \(EXIF orientation 6\); turn"
    ):
        open_dataset("voc2012", root)[0]


def test_unknown_names(tmp_path):
    with pytest.raises(InputError, match=r"no data set named 'voc'; choose from shapes, voc2012"):
        open_dataset("voc", tmp_path)
    with pytest.raises(InputError, match=r"data set camvid needs its folder; give it as `root`"):
        open_dataset("camvid")
