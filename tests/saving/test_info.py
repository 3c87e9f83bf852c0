"""A model's classes and origin go wherever the model goes."""

import dataclasses
import json

import keras
import pytest

import fcn_keras
from fcn_keras import InputError, ModelInfo, annotate, describe
from fcn_keras.data.classes import SHAPES, VOC, ClassTable

INFO = ModelInfo(
    classes=SHAPES,
    recipe="shapes",
    dataset="shapes",
    split="val",
    commit="0123abcd",
    version="1.2.3",
    max_side=320,
    scores={"mean_iou": 0.9123456789, "pixel_accuracy": 0.5},
)


def build(classes=6):
    return fcn_keras.fcn8s(classes, backbone_width=1, head_width=2)


@pytest.fixture(scope="module")
def model():
    model = build()
    annotate(model, INFO)
    return model


def test_saved_loaded_and_saved_again(model, tmp_path):
    model.save(tmp_path / "a.keras")
    loaded = keras.models.load_model(tmp_path / "a.keras")
    loaded.save(tmp_path / "b.keras")
    assert describe(keras.models.load_model(tmp_path / "b.keras")) == INFO


def test_copies_and_larger_models_keep_it(model):
    assert describe(keras.models.clone_model(model)) == INFO
    probabilities = keras.layers.Softmax()(model.output)
    assert describe(keras.Model(model.input, probabilities)) == INFO
    image = keras.Input((32, 32, 3))
    assert describe(keras.Model(image, model(image))) == INFO
    assert describe(keras.Sequential([image, model])) == INFO


def test_a_compact_file_keeps_it(model, tmp_path):
    fcn_keras.saving.save_compact(model, tmp_path / "a.safetensors")
    assert describe(fcn_keras.load_model(tmp_path / "a.safetensors")) == INFO


def test_a_model_that_knows_nothing_has_numbered_classes(model):
    plain = describe(build(3))
    assert not plain.named
    assert plain.classes.names == ("class 0", "class 1", "class 2")
    assert plain.classes.colors == VOC.colors[:3]
    image = keras.Input((32, 32, 3))
    behind = keras.layers.Conv2D(4, 1)(model(image))  # other classes
    assert describe(keras.Model(image, behind)).classes.names == ClassTable.numbered(4).names


def test_it_can_be_replaced():
    model = build()
    annotate(model, INFO)
    annotate(model, ModelInfo(classes=SHAPES))
    assert describe(model) == ModelInfo(classes=SHAPES)


def test_scores_that_are_no_numbers_are_left_out():
    model = build()
    annotate(model, ModelInfo(classes=SHAPES, scores={"mean_iou": float("nan"), "fw_iou": 1.0}))
    assert describe(model).scores == {"fw_iou": 1.0}


def test_what_doesn_t_fit_is_refused():
    with pytest.raises(InputError, match="info has 21 classes, but model fcn8s has 6"):
        annotate(build(), ModelInfo(classes=VOC))
    image = keras.Input((32, 32, 3))
    other = keras.Model(image, keras.layers.Conv2D(6, 1)(image), name="other")
    with pytest.raises(InputError, match="'other' holds no model of fcn8s, fcn16s or fcn32s"):
        annotate(other, INFO)
    loud = ClassTable("loud", ("\x1b[31mred",), ((0, 0, 0),))
    with pytest.raises(InputError, match="info has damaged class names"):
        annotate(build(1), ModelInfo(classes=loud))


def edited(**changes):
    record = json.loads(build_text())
    record["classes"] |= changes.pop("classes", {})
    return json.dumps(record | changes)


def build_text():
    model = build()
    annotate(model, INFO)
    return model.get_layer("crop").info


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "{}",
        "[" * 100_000,
        edited(recipe=3),
        edited(max_side=0),
        edited(max_side=320.0),
        edited(scores=[1]),
        edited(scores={"mean_iou": "x"}),
        edited(classes={"names": ["a"] * 7}),
        edited(classes={"names": ["a"] * 5 + ["\n"]}),
        edited(classes={"colors": [[0, 0, 256]] * 6}),
        edited(classes={"colors": [[0, 0, 0.5]] * 6}),
        edited(classes={"void": 0}),
    ],
    ids=range(14),
)
def test_a_damaged_text_is_one_line(text):
    model = build()
    model.get_layer("crop").info = text
    with pytest.raises(InputError, match="model fcn8s has damaged class names") as caught:
        describe(model)
    assert "\n" not in str(caught.value)


def test_files_of_earlier_versions_leave_photos_as_they_are():
    model = build()
    record = json.loads(build_text())
    del record["max_side"]
    model.get_layer("crop").info = json.dumps(record)
    assert describe(model) == dataclasses.replace(INFO, max_side=None)


def test_old_files_have_no_info_in_their_configuration():
    """So that a model without classes is saved as the first release saved it."""
    assert "info" not in build().get_layer("crop").get_config()
