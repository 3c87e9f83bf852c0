import json
import time

import numpy as np
import pytest
from PIL import Image

from fcn_keras.data import Augmentation, open_dataset, train_batches
from fcn_keras.data.catalog import open_files
from fcn_keras.data.check import check
from fcn_keras.data.classes import SHAPES
from fcn_keras.data.shapes import write_shapes
from fcn_keras.data.sheet import contact_sheet
from fcn_keras.errors import InputError


@pytest.fixture
def root(tmp_path):
    write_shapes(tmp_path / "shapes", train=6, val=2, size=32)
    return tmp_path / "shapes"


def sources(root):
    return {split: open_files("shapes", root, split) for split in ("train", "val")}


def test_counts_images_and_pixels_of_each_class(root):
    seen = []
    report = check(sources(root), workers=2, progress=lambda *state: seen.append(state))
    assert report.problems == []
    assert seen == [(n, 8) for n in range(1, 9)]
    masks = [open_dataset("shapes", root, "train")[i][1] for i in range(6)]
    for label in range(6):
        assert report.splits["train"].pixels[label] == sum((m == label).sum() for m in masks)
        assert report.splits["train"].images[label] == sum((m == label).any() for m in masks)
    assert report.splits["train"].void_pixels == sum((m == 255).sum() for m in masks)
    assert report.splits["val"].samples == 2
    told = json.loads(json.dumps(report.to_json()))
    assert told["splits"]["train"]["pixels"]["ring"] == int(report.splits["train"].pixels[5])


def test_finds_every_kind_of_problem(root):
    source = sources(root)["train"]
    source.images[0].write_bytes(source.images[0].read_bytes()[:500])
    source.masks[1].unlink()
    Image.fromarray(np.full((32, 32), 9, np.uint8)).save(source.masks[2])
    Image.fromarray(np.zeros((31, 32), np.uint8)).save(source.masks[3])
    Image.fromarray(np.full((32, 32), 255, np.uint8)).save(source.masks[4])
    Image.fromarray(np.zeros((32, 32, 3), np.uint8)).save(source.masks[5])
    lists = root / "ImageSets" / "Segmentation"
    with open(lists / "val.txt", "a") as file:
        file.write("train_0003\nval_0000\n")
    report = check(sources(root))
    found = {(p.split, p.sample): p.message for p in report.problems if p.split == "train"}
    assert "JPEGImages/train_0000.jpg can't be read" in found.pop(("train", "train_0000"))
    assert "train_0001.png does not exist" in found.pop(("train", "train_0001"))
    assert "train_0002.png holds label 9" in found.pop(("train", "train_0002"))
    assert "is 32 x 31 pixels, but image" in found.pop(("train", "train_0003"))
    assert "train_0004.png has no labelled pixel" in found.pop(("train", "train_0004"))
    assert "is a RGB picture" in found.pop(("train", "train_0005"))
    assert found == {}
    val = [p.message for p in report.problems if p.split == "val"]
    assert val[:2] == [
        "sample train_0003 is in train too; keep it in one",
        "sample val_0000 is listed 2 times; keep one",
    ]
    assert len(val) == 3  # and the sizes of train_0003 again


def test_tells_what_reading_changed(root):
    source = sources(root)["train"]
    Image.fromarray(np.zeros((32, 32), np.uint8)).save(source.images[0])
    report = check(sources(root))
    assert report.problems == []
    assert report.splits["train"].conversions == {"L pixels read as RGB": 1}


def test_refuses_what_it_can_not_check(tmp_path):
    with pytest.raises(InputError, match="no split to check"):
        check({})
    with pytest.raises(InputError, match="tfds:voc is not a folder of files"):
        open_files("tfds:voc", tmp_path, "train")


def test_the_sheet_shows_the_first_batch_of_training(root):
    source = open_dataset("shapes", root, "train")
    augmentation = Augmentation(crop_size=20)
    sheet = contact_sheet(source, augmentation=augmentation, seed=3, count=5, columns=2)
    assert sheet.shape == (3 * 24, 2 * 44, 3)
    stream = train_batches(source, batch_size=5, augmentation=augmentation, seed=3)
    batch = next(stream)
    stream.close()
    for index in range(5):
        top, left = index // 2 * 24, index % 2 * 44
        np.testing.assert_array_equal(
            sheet[top : top + 20, left : left + 20], batch["image"][index]
        )
        np.testing.assert_array_equal(
            sheet[top : top + 20, left + 20 : left + 40], SHAPES.palette[batch["mask"][index]]
        )
    assert (sheet[48:, 44:] == 255).all()


def test_an_interruption_does_not_wait_for_the_rest(root):
    source, read = sources(root)["train"], []

    class Slow:
        classes, ids = source.classes, source.ids * 50
        images, masks, colors = source.images * 50, source.masks * 50, None

        def __len__(self):
            return len(self.ids)

        def image(self, index):
            read.append(index)
            time.sleep(0.01)
            return source.image(index % len(source))

        def mask(self, index):
            return source.mask(index % len(source))

        def require_same_size(self, *_):
            pass

        def missing(self):
            return []

    def interrupt(*_):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        check({"train": Slow()}, workers=1, progress=interrupt)
    assert len(read) < 150
