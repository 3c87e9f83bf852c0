import os
import pickle
import subprocess
import sys
import textwrap

import numpy as np
import pytest

from fcn_keras.data import open_dataset
from fcn_keras.errors import InputError

IDS = ("2007_000032", "2007_000039", "2007_000063", "2007_000068")


@pytest.fixture(scope="module")
def manual(shared_data, tmp_path_factory):
    """Four real VOC samples in the manual folder of an empty TFDS root."""
    root = tmp_path_factory.mktemp("tfds")
    voc = root / "downloads" / "manual" / "VOCdevkit" / "VOC2012"
    (voc / "ImageSets" / "Segmentation").mkdir(parents=True)
    (voc / "ImageSets/Segmentation/train.txt").write_text("\n".join(IDS))
    (voc / "ImageSets/Segmentation/val.txt").write_text("2007_000000\n")  # not there
    for folder, suffix in (("JPEGImages", ".jpg"), ("SegmentationClass", ".png")):
        (voc / folder).mkdir()
        for name in IDS:
            file = (shared_data / "VOC2012" / folder / name).with_suffix(suffix)
            (voc / folder / file.name).symlink_to(file)
    return root


@pytest.fixture(scope="module")
def prepared(manual):
    """The root after another process built the set; that process says if it used TensorFlow."""
    pytest.importorskip("tensorflow_datasets")
    code = f"""
        import sys
        from fcn_keras.data import open_dataset
        source = open_dataset("tfds:voc2012_segmentation", {str(manual)!r}, "train")
        source[0]
        assert "tensorflow" not in sys.modules, "TensorFlow was imported"
    """
    environment = {**os.environ, "KERAS_BACKEND": "jax"}
    subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)],
        check=True,
        env=environment,
        capture_output=True,
        timeout=300,
    )
    return manual


@pytest.mark.tf
@pytest.mark.filterwarnings("ignore")
def test_voc_builder_gives_the_files_pixels(prepared, shared_data):
    source = open_dataset("tfds:voc2012_segmentation", prepared, "train")
    files = open_dataset("voc2012", prepared / "downloads" / "manual", "train")
    assert len(source) == 4 and source.classes is files.classes
    expected = {image.tobytes(): mask for image, mask in (files[i] for i in range(4))}
    assert len(expected) == 4
    source = pickle.loads(pickle.dumps(source))  # as grain's workers get it
    for index in range(4):
        image, mask = source[index]
        np.testing.assert_array_equal(mask, expected.pop(image.tobytes()))
    with pytest.raises(InputError, match="no split 'val'; splits there: train"):
        open_dataset("tfds:voc2012_segmentation", prepared, "val")


@pytest.mark.tf
@pytest.mark.filterwarnings("ignore")
def test_unknown_set_is_named(tmp_path):
    pytest.importorskip("tensorflow_datasets")
    with pytest.raises(InputError, match="TFDS has no data set no_such_set"):
        open_dataset("tfds:no_such_set", tmp_path)
