"""`weights=`: files of others, and the trained models that the package carries."""

import numpy as np
import pytest

import fcn_keras
from fcn_keras import InputError, models, pretrained
from fcn_keras.saving import save_compact

IMAGE = np.random.default_rng(0).integers(0, 256, (1, 20, 30, 3), np.uint8)


@pytest.fixture
def carried(tmp_path, monkeypatch):
    """A folder with one trained model, an FCN-8s of three classes called shapes."""
    model = models.fcn8s(3, backbone_width=2, head_width=4, dropout=0.2)
    random = np.random.default_rng(1)
    for variable in model.variables:
        if "float" in variable.dtype and "upscore" not in variable.path:
            variable.assign(random.normal(size=variable.shape))
    save_compact(model, tmp_path / "shapes-fcn8s.safetensors")
    monkeypatch.setattr(pretrained, "FOLDER", tmp_path)
    return fcn_keras.load_model(tmp_path / "shapes-fcn8s.safetensors")


def test_a_trained_model_by_name_brings_its_classes_and_widths(carried):
    model = fcn_keras.fcn8s(weights="shapes")
    assert models.design_of(model) == models.design_of(carried)
    np.testing.assert_array_equal(model(IMAGE), carried(IMAGE))


def test_a_segmenter_takes_the_name(carried):
    segmenter = fcn_keras.Segmenter("shapes", bucket=1)
    np.testing.assert_array_equal(segmenter(IMAGE[0]), np.argmax(carried(IMAGE)[0], axis=-1))
    with pytest.raises(InputError, match=r"has no trained fcn8s 'voc': shapes"):
        fcn_keras.Segmenter("voc")


def test_a_file_of_the_name_comes_before_the_package_s(carried, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert fcn_keras.load_model("shapes").output_shape[-1] == 3
    (tmp_path / "shapes").write_text("mine")
    with pytest.raises(InputError, match=r"model shapes is not a \.keras file"):
        fcn_keras.load_model("shapes")


def test_other_classes_keep_all_but_the_scores(carried):
    model = fcn_keras.fcn8s(5, weights="shapes", dropout=0.0)
    design = models.design_of(model)
    assert (design.num_classes, design.head_width, design.dropout) == (5, 4, 0.0)
    for name in ("block5_conv3", "fc7"):
        ours, theirs = (np.array(m.get_layer(name).kernel.value) for m in (model, carried))
        np.testing.assert_array_equal(ours, theirs)
    assert not np.array(model.get_layer("score_fr").kernel.value).any()


def test_an_unknown_name_lists_the_known(carried):
    with pytest.raises(InputError, match=r"weights='voc' is neither .* trained fcn8s .*\(shapes\)"):
        fcn_keras.fcn8s(weights="voc")
    with pytest.raises(InputError, match=r"trained fcn16s of this package \(none\)"):
        fcn_keras.fcn16s(weights="shapes")


def test_without_weights_there_are_voc_s_classes():
    assert fcn_keras.fcn32s(backbone_width=1, head_width=1).output_shape[-1] == 21


def test_the_networks_themselves_take_no_weights():
    with pytest.raises(InputError, match=r"weights is an argument of fcn_keras\.fcn8s"):
        models.fcn8s(weights="vgg16.pth")
