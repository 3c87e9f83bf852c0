import io
import os
import pickle
import subprocess
import sys
import textwrap

import numpy as np
import pytest
from PIL import Image

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


def png(array: np.ndarray) -> bytes:
    file = io.BytesIO()
    Image.fromarray(array).save(file, "PNG")
    return file.getvalue()


@pytest.fixture
def builders(tmp_path):
    """Small sets with the features of real ones: pets, named labels, unnamed labels, no mask."""
    tfds = pytest.importorskip("tensorflow_datasets")
    features = tfds.features
    image = features.Image(shape=(None, None, 3), encoding_format="png")
    mask = features.Image(shape=(None, None, 1), encoding_format="png")
    named = features.LabeledImage(
        labels=["sky", "sea"], shape=(None, None, 1), encoding_format="png"
    )
    photo = png(np.arange(36, dtype=np.uint8).reshape(3, 4, 3))
    labels = png(np.array([[1, 2, 3, 1], [1, 1, 2, 2], [255, 3, 3, 3]], np.uint8))
    zeros = png(np.eye(3, 4, dtype=np.uint8))

    def build(name, keys, values, version="1.0.0"):
        class Builder(tfds.core.GeneratorBasedBuilder, skip_registration=True):
            VERSION = tfds.core.Version(version)
            pkg_dir_path = tmp_path

            def _info(self):
                return tfds.core.DatasetInfo(builder=self, features=features.FeaturesDict(keys))

            def _split_generators(self, manager):
                return {"train": [("0", values)]}

            def _generate_examples(self):
                raise NotImplementedError

        Builder.name = name
        builder = Builder(data_dir=tmp_path, file_format="array_record")
        builder.download_and_prepare()

    both = {"image": photo, "segmentation_mask": labels}
    # TFDS opens the pets with its own builder, which looks for its own version.
    version = str(tfds.builder_cls("oxford_iiit_pet").VERSION)
    build("oxford_iiit_pet", {"image": image, "segmentation_mask": mask}, both, version)
    build("unnamed", {"image": image, "segmentation_mask": mask}, both)
    build("named", {"image": image, "mask": named}, {"image": photo, "mask": zeros})
    build("boxes", {"image": image, "label": features.Text()}, {"image": photo, "label": "x"})
    return tmp_path


@pytest.mark.tf
@pytest.mark.filterwarnings("ignore")
def test_masks_of_other_sets(builders):
    pets = open_dataset("tfds:oxford_iiit_pet", builders)
    image, mask = pets[0]
    assert pets.classes.names == ("pet", "background", "border")
    assert mask.tolist() == [[0, 1, 2, 0], [0, 0, 1, 1], [255, 2, 2, 2]]
    np.testing.assert_array_equal(image, np.arange(36).reshape(3, 4, 3))

    named = open_dataset("tfds:named", builders)
    assert named.classes.names == ("sky", "sea")
    np.testing.assert_array_equal(named[0][1], np.eye(3, 4))

    with pytest.raises(InputError, match="tfds:unnamed doesn't name its labels"):
        open_dataset("tfds:unnamed", builders)
    with pytest.raises(InputError, match=r"no image with a segmentation mask \(features: image, l"):
        open_dataset("tfds:boxes", builders)
