"""Starting a model from a trained one, weight by weight."""

import numpy as np
import pytest

import fcn_keras
from fcn_keras import InputError, init_from
from fcn_keras.models.layers import Bilinear
from tests.parity.conversion import randomize

SMALL = {"backbone_width": 4, "head_width": 8}
TRUNK = [
    f"block{b}_conv{i}" for b, n in enumerate((2, 2, 3, 3, 3), start=1) for i in range(1, n + 1)
]


def build(name, classes=5, **options):
    return getattr(fcn_keras, name)(classes, **{**SMALL, **options})


def trained(name, classes=5, **options):
    return randomize(build(name, classes, **options), seed=1)


def values(model, layer):
    return [np.asarray(v.value) for v in model.get_layer(layer).weights]


def assert_copied(model, source, names):
    for name in names:
        for ours, theirs in zip(values(model, name), values(source, name), strict=True):
            assert theirs.std() > 0
            np.testing.assert_array_equal(ours, theirs, err_msg=name)


def assert_bilinear(model, name):
    (kernel,) = values(model, name)
    np.testing.assert_array_equal(kernel, Bilinear()(kernel.shape))


def test_16s_from_32s():
    source, model = trained("fcn32s", upsampling="learned"), build("fcn16s", upsampling="learned")
    shared = [*TRUNK, "fc6", "fc7", "score_fr"]
    transfer = init_from(model, source)
    assert sorted(transfer.copied) == sorted(shared)
    assert sorted(transfer.new) == ["score_pool4", "upscore16", "upscore2"]
    assert_copied(model, source, shared)
    assert not any(v.any() for v in values(model, "score_pool4"))
    assert_bilinear(model, "upscore2")
    assert_bilinear(model, "upscore16")


def test_8s_from_16s_keeps_the_learned_upsampling():
    source, model = trained("fcn16s", upsampling="learned"), build("fcn8s", upsampling="learned")
    shared = [*TRUNK, "fc6", "fc7", "score_fr", "score_pool4", "upscore2"]
    transfer = init_from(model, source)
    assert sorted(transfer.copied) == sorted(shared)
    assert sorted(transfer.new) == ["score_pool3", "upscore8", "upscore_pool4"]
    assert_copied(model, source, shared)
    assert not any(v.any() for v in values(model, "score_pool3"))


def test_frozen_upsampling_stays_bilinear():
    source, model = trained("fcn16s", upsampling="learned"), build("fcn8s")
    assert "upscore2" in init_from(model, source).new
    assert_bilinear(model, "upscore2")


@pytest.mark.parametrize("batch_norm", [False, True])
def test_other_number_of_classes(batch_norm):
    options = {"upsampling": "learned", "batch_norm": batch_norm}
    source, model = trained("fcn8s", 5, **options), build("fcn8s", 6, **options)
    head = ["fc6", "fc7", *(["fc6_bn", "fc7_bn"] if batch_norm else [])]
    before = {layer.name: values(model, layer.name) for layer in model.layers}
    transfer = init_from(model, source)
    assert sorted(transfer.copied) == sorted(TRUNK + head)
    assert_copied(model, source, transfer.copied)
    rebuilt = ["score_fr", "score_pool3", "score_pool4", "upscore2", "upscore8", "upscore_pool4"]
    rebuilt += ["upscore2_bn", "upscore8_bn", "upscore_pool4_bn"] if batch_norm else []
    assert sorted(transfer.new) == sorted(rebuilt)
    for name in rebuilt:
        for now, then in zip(values(model, name), before[name], strict=True):
            np.testing.assert_array_equal(now, then)


def test_same_model_gives_the_same_logits_with_its_own_normalization():
    source, model = trained("fcn16s", geometry="caffe"), build("fcn16s", geometry="caffe")
    normalize = source.get_layer("normalize")
    normalize.scale, normalize.offset = [1, 1, 1], [-123.0, -117.0, -104.0]
    randomize(source, seed=2)
    for name in ("upscore2", "upscore16"):
        source.get_layer(name).kernel.assign(Bilinear()(source.get_layer(name).kernel.shape))
    image = np.random.default_rng(0).integers(0, 256, (1, 20, 30, 3), np.uint8)
    # Compiles the old normalisation, which must not survive.
    assert not model.predict(image, verbose=0).any()
    init_from(model, source)
    np.testing.assert_array_equal(model.predict(image, verbose=0), source.predict(image, verbose=0))


def test_the_source_keeps_its_own_buffers():
    source, model = trained("fcn32s"), build("fcn16s")
    init_from(model, source)
    ours, theirs = (m.get_layer("fc6").kernel.value for m in (model, source))
    assert ours.unsafe_buffer_pointer() != theirs.unsafe_buffer_pointer()


REFUSED = {
    "backbone_width": (
        {"backbone_width": 4},
        {"backbone_width": 1},
        "the source model has backbone_width=1, the new one backbone_width=4; build both",
    ),
    "head_width": (
        {"head_width": 8},
        {"head_width": 1},
        "the source model has head_width=1, the new one head_width=8; build both",
    ),
    "backbone": (
        {},
        {"backbone": "vgg19"},
        "the source model has backbone='vgg19', the new one backbone='vgg16'; build both",
    ),
    "geometry": (
        {},
        {"geometry": "caffe"},
        "the source model has geometry='caffe', the new one geometry='same'; build both",
    ),
    "batch_norm": (
        {"batch_norm": True},
        {},
        "the source model has batch_norm=False, the new one batch_norm=True; build both",
    ),
    "at_once": (
        {},
        {"at_once": True},
        "the source model has at_once=True, the new one at_once=False; build both",
    ),
}


@pytest.mark.parametrize("ours, theirs, message", REFUSED.values(), ids=REFUSED)
def test_refused_and_left_alone(ours, theirs, message):
    model, source = build("fcn8s", **ours), trained("fcn8s", **theirs)
    before = [np.array(w.value) for w in model.weights]
    with pytest.raises(InputError, match=message):
        init_from(model, source)
    for now, then in zip(model.weights, before, strict=True):
        np.testing.assert_array_equal(now.value, then)


def test_at_once_starts_from_a_32s():
    model, source = build("fcn8s", at_once=True), trained("fcn32s")
    assert "score_fr" in init_from(model, source).copied


def test_foreign_models_are_refused():
    import keras

    image = keras.Input((None, None, 3))
    other = keras.Model(image, keras.layers.Conv2D(2, 3, name="block1_conv1")(image), name="other")
    with pytest.raises(
        InputError,
        match="model 'other' lacks crop, fc6, fc6_dropout, fc7, image",
    ):
        init_from(build("fcn8s"), other)
    with pytest.raises(
        InputError,
        match="model 'other' lacks crop, fc6, fc6_dropout, fc7, image",
    ):
        init_from(other, build("fcn8s"))
