"""The trained model that the package carries."""

from importlib.resources import files

import numpy as np
import pytest

import fcn_keras
from fcn_keras import pretrained
from fcn_keras.data import Subset, open_dataset
from fcn_keras.data.classes import VOC
from fcn_keras.evaluation import Evaluator

PHOTOS = files("fcn_keras.export") / "photos"


@pytest.fixture(scope="module")
def segmenter():
    return fcn_keras.Segmenter("voc2012")


def test_it_is_small_and_knows_what_it_is(segmenter):
    assert pretrained.names("fcn8s") == ["voc2012"]
    assert pretrained.find().stat().st_size < 30e6
    info = fcn_keras.describe(segmenter.model)
    assert (info.classes.names, info.recipe) == (VOC.names, "voc2012_fcn8s_box2")
    assert info.max_side == segmenter.max_side == 320
    assert (info.dataset, info.split) == ("voc2012", "val+val2008")
    assert info.scores["mean_iou"] > 0.5
    assert info.commit
    # Trained in bfloat16, which many CPUs only emulate.
    assert segmenter.model.get_layer("fc6").compute_dtype == "float32"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("photo", "name", "least"), [("cat", "cat", 0.7), ("astronaut", "person", 0.4)]
)
@pytest.mark.usefixtures("optimized")
def test_a_cat_is_a_cat_and_an_astronaut_a_person(segmenter, photo, name, least):
    found = segmenter.segment(str(PHOTOS / f"{photo}.jpg"))
    shares = np.bincount(found.mask.ravel(), minlength=21) / found.mask.size
    assert shares[VOC.names.index(name)] > least


@pytest.mark.slow
@pytest.mark.usefixtures("optimized")
def test_its_scores_hold_on_real_images(segmenter, shared_data):
    images = Subset.first(open_dataset("voc2012", shared_data, "val"), 30)
    scores = Evaluator(segmenter.model, batch_size=4, bucket=512).run(images)
    told = fcn_keras.describe(segmenter.model).scores
    # Thirty images are easier or harder than all by this much.
    assert scores.pixel_accuracy == pytest.approx(told["pixel_accuracy"], abs=0.02)
