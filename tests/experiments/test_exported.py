import random

import numpy as np
import pytest

import fcn_keras
from experiments.study import exported
from fcn_keras import InputError
from fcn_keras.data import open_dataset
from fcn_keras.data.shapes import write_shapes
from fcn_keras.evaluation import Evaluator
from fcn_keras.export import onnx_file
from fcn_keras.export.job import Job


@pytest.mark.parametrize("output", ["logits", "classes"])
def test_it_scores_as_the_evaluator_does(tmp_path, output):
    pytest.importorskip("onnx")
    pytest.importorskip("onnxruntime")
    write_shapes(tmp_path / "data", train=1, val=4, size=48)
    source = open_dataset("shapes", tmp_path / "data", "val")
    random.seed(0)  # Keras' initialisers draw from it
    model = fcn_keras.fcn8s(len(source.classes.names), backbone_width=2, head_width=4)
    generator = np.random.default_rng(0)
    for name in ("score_fr", "score_pool4", "score_pool3"):
        kernel = model.get_layer(name).kernel
        kernel.assign(generator.normal(size=kernel.shape))
    onnx_file.write(Job(model, None, output, {}), tmp_path / "model.onnx")
    scores = exported.score(exported.load(tmp_path / "model.onnx"), source)
    expected = Evaluator(model).run(source)
    assert (scores.iou > 0).sum() >= 2
    names = ("pixel_accuracy", "mean_accuracy", "mean_iou", "fw_iou")
    for name in names:
        assert getattr(scores, name) == pytest.approx(getattr(expected, name), rel=1e-3)


def test_other_files_are_refused(tmp_path):
    with pytest.raises(InputError, match=r"none\.onnx does not exist"):
        exported.load(tmp_path / "none.onnx")
    (tmp_path / "m.tflite").touch()
    with pytest.raises(InputError, match=r"m.tflite must be named \*.onnx, \*.xml or"):
        exported.load(tmp_path / "m.tflite")
