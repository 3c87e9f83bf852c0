"""Designs are read back from any model, and every layer has its part."""

import keras
import pytest

from fcn_keras import InputError
from fcn_keras.models import Design, build, design_of
from fcn_keras.models.anatomy import backbone_of, block, part
from fcn_keras.models.vgg import BACKBONES

NARROW = {"num_classes": 3, "backbone_width": 1, "head_width": 2}
DESIGNS = [
    Design(**NARROW),
    Design(**NARROW, model="fcn16s", geometry="caffe", upsampling="learned", dropout=0.25),
    Design(**NARROW, model="fcn32s", input_shape=(32, 64, 3), backbone="vgg19"),
    Design(**NARROW, at_once=True, batch_norm=True, backbone="vgg16_bn"),
    Design(**NARROW, batch_norm=True, upsampling="frozen", dropout=0.0),
]


@pytest.mark.parametrize("design", DESIGNS, ids=str)
def test_a_model_tells_its_design(design, tmp_path):
    model = build(design)
    assert design_of(model) == design
    model.save(tmp_path / "model.keras")
    assert design_of(keras.models.load_model(tmp_path / "model.keras")) == design
    assert design_of(keras.models.clone_model(model)) == design


@pytest.mark.parametrize("design", DESIGNS, ids=str)
def test_every_variable_is_in_one_part(design):
    model = build(design)
    parts = {layer.name: part(layer.name) for layer in model.layers}
    assert all(parts[layer.name] for layer in model.layers if layer.weights)
    between = {"image", "normalize", "pad", "crop"}
    assert all(
        name in between or name.startswith(("crop_", "scale_", "fuse_"))
        for name, its in parts.items()
        if its is None
    )
    blocks = [block(name) for name in parts if block(name)]
    assert blocks == sorted(blocks) and set(blocks) == {1, 2, 3, 4, 5}
    assert backbone_of(parts) == design.backbone


def test_the_backbones_have_the_paper_s_layers():
    """As many layers with weights as the name says, of which three are linear."""
    for name, vgg in BACKBONES.items():
        assert name.removeprefix("vgg").split("_")[0] == str(len(vgg.names) + 3)


def test_another_model_has_no_design():
    image = keras.Input((None, None, 3), name="image")
    other = keras.Model(image, keras.layers.Conv2D(2, 3, name="fc6")(image), name="other")
    with pytest.raises(InputError, match="model 'other' lacks block1_conv1, crop, fc6_dropout"):
        design_of(other)


def test_an_unknown_backbone_is_refused():
    with pytest.raises(InputError, match=r"backbone='resnet' .* or \"vgg19\""):
        Design(backbone="resnet")
