import json
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
from fcn_keras.imagenet import MEAN_PIXEL


@pytest.mark.parametrize(
    ("output", "max_side"), [("logits", None), ("classes", None), ("logits", 32)]
)
def test_it_scores_as_the_evaluator_does(tmp_path, output, max_side):
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
    facts = {"max_side": max_side} if max_side else {}
    record(tmp_path / "model.onnx", [None, None, None, 3], **facts)
    scores = exported.score(exported.load(tmp_path / "model.onnx"), source)
    expected = Evaluator(model, max_side=max_side).run(source)
    assert (scores.iou > 0).sum() >= 2
    names = ("pixel_accuracy", "mean_accuracy", "mean_iou", "fw_iou")
    for name in names:
        assert getattr(scores, name) == pytest.approx(getattr(expected, name), rel=1e-3)


def record(file, shape, **facts):
    content = {"input": {"shape": shape}, "model": facts}
    file.with_name(f"{file.name}.json").write_text(json.dumps(content))


def test_classes_are_enlarged_without_new_ones():
    small = np.array([[2, 9, 7], [0, 1, 5]], np.uint8)
    run = exported.reduced(lambda images: small[None] if images.shape == (1, 2, 3, 3) else None, 3)
    expected = np.repeat(np.repeat(small, 2, axis=0), 2, axis=1)
    np.testing.assert_array_equal(run(np.zeros((1, 4, 6, 3), np.float32))[0], expected)


def test_a_file_of_one_size_sees_a_frame_that_is_cut_off():
    seen = []
    run = exported.framed(lambda images: seen.append(images) or images[..., 0], 4, 5)
    image = np.arange(18, dtype=np.float32).reshape(1, 3, 2, 3)
    np.testing.assert_array_equal(run(image), image[..., 0])
    (frame,) = seen
    assert frame.shape == (1, 4, 5, 3) and frame.dtype == np.float32
    np.testing.assert_array_equal(frame[:, :3, :2], image)
    assert (frame[:, 3:] == MEAN_PIXEL).all() and (frame[:, :, 2:] == MEAN_PIXEL).all()
    with pytest.raises(InputError, match="an image of 6x3 pixels is larger than the 5x4 that"):
        run(np.zeros((1, 3, 6, 3)))


def test_a_file_of_one_size_is_framed(tmp_path):
    pytest.importorskip("onnx")
    pytest.importorskip("onnxruntime")
    model = fcn_keras.fcn8s(3, backbone_width=2, head_width=4)
    onnx_file.write(Job(model, (40, 56), "classes", {}), tmp_path / "m.onnx")
    record(tmp_path / "m.onnx", [None, 40, 56, 3])
    assert exported.load(tmp_path / "m.onnx")(np.zeros((1, 33, 20, 3))).shape == (1, 33, 20)


def test_other_files_are_refused(tmp_path):
    with pytest.raises(InputError, match=r"none\.onnx does not exist"):
        exported.load(tmp_path / "none.onnx")
    (tmp_path / "m.tflite").touch()
    with pytest.raises(InputError, match=r"m\.tflite\.json does not exist"):
        exported.load(tmp_path / "m.tflite")
    for name in ("m.keras", "m"):
        with pytest.raises(
            InputError, match=rf"{name} must be named \*.onnx, \*.xml, \*.tflite or"
        ):
            exported.load(tmp_path / name)
