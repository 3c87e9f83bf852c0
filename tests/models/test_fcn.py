"""The three models: sizes, names, what trains, what is refused."""

import jax
import keras
import numpy as np
import pytest

import fcn_keras
from fcn_keras import InputError, fcn8s, fcn16s, fcn32s
from tests.parity.conversion import randomize

SMALL = {"backbone_width": 4, "head_width": 8}
NAMES = ("fcn32s", "fcn16s", "fcn8s")
CONVOLUTIONS = [
    f"block{b}_conv{i}" for b, n in enumerate((2, 2, 3, 3, 3), start=1) for i in range(1, n + 1)
]
DECODERS = {
    "fcn32s": ["score_fr", "upscore32"],
    "fcn16s": ["score_fr", "score_pool4", "upscore2", "upscore16"],
    "fcn8s": ["score_fr", "score_pool4", "upscore2", "score_pool3", "upscore_pool4", "upscore8"],
}


def build(name, classes=5, **options):
    return getattr(fcn_keras, name)(classes, **{**SMALL, **options})


def image(height, width):
    return np.random.default_rng(0).integers(0, 256, (1, height, width, 3), np.uint8)


@pytest.fixture(scope="module", params=["same", "caffe"])
def random_8s(request):
    return randomize(build("fcn8s", geometry=request.param))


@pytest.mark.parametrize("size", [pytest.param((1, 1), marks=pytest.mark.slow), (37, 50)])
def test_any_size_in_the_same_size_out(random_8s, size):
    logits = np.asarray(random_8s(image(*size)))
    assert logits.shape == (1, *size, 5)
    assert logits.dtype == np.float32
    assert np.isfinite(logits).all() and logits.std() > 0


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["same", "caffe"])
@pytest.mark.parametrize("name", NAMES)
def test_more_sizes(name, kind):
    forward = jax.jit(randomize(build(name, geometry=kind)))
    for size in [(1, 33), (64, 31), (1, 500), (500, 1), (37, 500), (333, 500)]:
        logits = np.asarray(forward(image(*size)))
        assert logits.shape == (1, *size, 5)
        assert np.isfinite(logits).all() and logits.std() > 0


def test_bytes_and_floats_give_the_same_logits(random_8s):
    pixels = image(37, 50)
    np.testing.assert_array_equal(random_8s(pixels), random_8s(pixels.astype("float32")))


@pytest.mark.parametrize("batch_norm", [False, True])
@pytest.mark.parametrize("name", NAMES)
def test_layer_names(name, batch_norm):
    expected = [*CONVOLUTIONS, "fc6", "fc7", *DECODERS[name]]
    if batch_norm:
        upscores = [n for n in DECODERS[name] if n.startswith("upscore")]
        expected += [f"{n}_bn" for n in ("fc6", "fc7", *upscores)]
    model = build(name, batch_norm=batch_norm)
    assert sorted(layer.name for layer in model.layers if layer.weights) == sorted(expected)
    named = {layer.name for layer in model.layers}
    assert named >= {"image", "normalize", "crop", *(f"block{i}_pool" for i in range(1, 6))}
    assert model.name == name


@pytest.mark.parametrize("name", NAMES)
def test_frozen_upsampling_has_no_trainable_kernel(name):
    upscores = [n for n in DECODERS[name] if n.startswith("upscore")]
    frozen, learned = build(name), build(name, upsampling="learned")
    paths = {v.path for v in learned.trainable_variables}
    assert paths - {v.path for v in frozen.trainable_variables} == {f"{n}/kernel" for n in upscores}
    assert {v.path for v in frozen.non_trainable_weights} == {f"{n}/kernel" for n in upscores}


def test_scores_start_at_zero_and_so_do_the_logits():
    model = build("fcn8s", upsampling="learned")
    for name in ("score_fr", "score_pool4", "score_pool3"):
        assert not any(np.asarray(v.value).any() for v in model.get_layer(name).weights)
    assert not np.asarray(model(image(20, 20))).any()


def closed_form_parameters(name, classes, width, head):
    channels, count = 3, 0
    for block, convolutions in enumerate((2, 2, 3, 3, 3)):
        filters = width * min(2**block, 8)
        for _ in range(convolutions):
            count += 9 * channels * filters + filters
            channels = filters
    count += 49 * channels * head + head + head * head + head
    skips = {"fcn32s": [], "fcn16s": [8], "fcn8s": [8, 4]}[name]
    for features in (head, *(width * s for s in skips)):
        count += features * classes + classes
    last = {"fcn32s": 32, "fcn16s": 16, "fcn8s": 8}[name]
    return count + sum((2 * s) ** 2 * classes**2 for s in (*[2] * len(skips), last))


@pytest.mark.parametrize("name", NAMES)
def test_parameter_counts(name):
    assert build(name).count_params() == closed_form_parameters(name, 5, 4, 8)


@pytest.mark.slow
def test_parameter_counts_of_the_full_models():
    """VGG16's convolutions have 14,714,688 parameters; its hidden linear layers 119,545,856."""
    model = fcn32s()
    counts = {layer.name: layer.count_params() for layer in model.layers if layer.weights}
    assert sum(counts[name] for name in CONVOLUTIONS) == 14_714_688
    assert counts["fc6"] + counts["fc7"] == 119_545_856
    assert counts["score_fr"] == 86_037
    assert model.count_params() == 136_152_917 == closed_form_parameters("fcn32s", 21, 64, 4096)


def test_logits_are_float32_under_mixed_precision():
    """Every layer behind the scores computes in float32, or the logits were rounded before."""
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        model = build("fcn8s", batch_norm=True)
    finally:
        keras.config.set_dtype_policy("float32")
    assert model.get_layer("block1_conv1").compute_dtype == "bfloat16"
    decoder = [n.name for n in model.layers if n.name.startswith(("score", "upscore", "crop"))]
    assert {model.get_layer(name).compute_dtype for name in decoder} == {"float32"}
    assert model.output.dtype == "float32"


def test_channels_first_is_refused():
    """Keras' Rescaling would take the rows for channels."""
    keras.config.set_image_data_format("channels_first")
    try:
        with pytest.raises(InputError, match="image_data_format='channels_first' is not possible"):
            build("fcn8s")
    finally:
        keras.config.set_image_data_format("channels_last")


def test_dropout_defaults():
    rates = {
        batch_norm: build("fcn8s", batch_norm=batch_norm).get_layer("fc6_dropout").rate
        for batch_norm in (False, True)
    }
    assert rates == {False: 0.5, True: 0.1}
    assert build("fcn8s", dropout=0.0).get_layer("fc7_dropout").rate == 0


def test_at_once_scales_the_skips():
    model = build("fcn8s", at_once=True)
    scales = [model.get_layer(f"scale_{tap}").scale for tap in ("pool4", "pool3")]
    assert scales == [0.01, 0.0001]


REFUSED = {
    "num_classes=0 is not possible: it must be at least 1": {"num_classes": 0},
    "head_width=0 is not possible: it must be at least 1": {"head_width": 0},
    "backbone_width=-1 is not possible: it must be at least 1": {"backbone_width": -1},
    "dropout=1.0 is not possible: it must be at least 0 and below 1": {"dropout": 1.0},
    'upsampling=\'cubic\' is not possible: it must be "frozen" or "learned"': {
        "upsampling": "cubic"
    },
    'geometry=\'valid\' is not possible: it must be "same" or "caffe"': {"geometry": "valid"},
    "input_shape=(32, 32, 1) is not possible: it must be (H, W, 3)": {"input_shape": (32, 32, 1)},
}


@pytest.mark.parametrize("message, options", REFUSED.items(), ids=[*REFUSED])
def test_bad_arguments(message, options):
    with pytest.raises(InputError) as error:
        fcn8s(**{**SMALL, **options})
    assert str(error.value) == message


@pytest.mark.parametrize("model", [fcn16s, fcn32s])
def test_at_once_is_for_8s(model):
    with pytest.raises(
        InputError, match="at_once=True is not possible: it must be False: only fcn8s"
    ):
        model(3, at_once=True, **SMALL)


def test_the_first_release_s_name_of_the_width():
    assert fcn8s(3, trunk_width=2, head_width=3).get_layer("block1_conv1").filters == 2
