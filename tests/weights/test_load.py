"""Checks, reports, and that a refused file changes nothing."""

import keras
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors.numpy import save_file

from fcn_keras import InputError, fcn8s, fcn16s, fcn32s
from fcn_keras.weights import load_weights

FEATURES = (
    0,
    2,
    5,
    7,
    10,
    12,
    14,
    17,
    19,
    21,
    24,
    26,
    28,
)  # the convolutions of torchvision's VGG16
WIDTHS = [(4, 3), (4, 4), (8, 4), (8, 8), (16, 8), (16, 16), (16, 16)]
WIDTHS += [(32, 16)] + [(32, 32)] * 5
NARROW = {"num_classes": 5, "backbone_width": 4, "head_width": 8}


def random(*shape):
    return np.asarray(np.random.default_rng(sum(shape)).normal(size=shape), np.float32)


def vgg16(head=8):
    """A narrow VGG16 in torchvision's layout."""
    tensors = {}
    for index, shape in zip(FEATURES, WIDTHS, strict=True):
        tensors[f"features.{index}.weight"] = random(*shape, 3, 3)
        tensors[f"features.{index}.bias"] = random(shape[0])
    if head:
        for index, shape in ((0, (head, 32 * 49)), (3, (head, head)), (6, (10, head))):
            tensors[f"classifier.{index}.weight"] = random(*shape)
            tensors[f"classifier.{index}.bias"] = random(shape[0])
    return tensors


@pytest.fixture
def save(tmp_path):
    def save(tensors):
        path = tmp_path / "file"
        save_file({name: np.ascontiguousarray(array) for name, array in tensors.items()}, path)
        return path

    return save


@pytest.fixture(scope="module")
def unchanged():
    return fcn8s(**NARROW)


def variables(model):
    return {variable.path: np.array(variable.value) for variable in model.variables}


def test_kernels_are_transposed_and_the_rest_is_left(save):
    tensors = vgg16()
    model = fcn8s(**NARROW)
    before = variables(model)
    report = load_weights(model, save(tensors))
    after = variables(model)
    kernel = tensors["features.10.weight"]  # (out, in, h, w)
    for out, into, y, x in [(3, 5, 0, 2), (15, 7, 2, 1)]:
        assert after["block3_conv1/kernel"][y, x, into, out] == kernel[out, into, y, x]
    linear = tensors["classifier.0.weight"]
    for out, channel, y, x in [(0, 0, 0, 1), (7, 31, 6, 5), (3, 12, 2, 4)]:
        assert after["fc6/kernel"][y, x, channel, out] == linear[out, channel * 49 + y * 7 + x]
    np.testing.assert_array_equal(after["fc7/kernel"][0, 0], tensors["classifier.3.weight"].T)
    np.testing.assert_array_equal(after["fc7/bias"], tensors["classifier.3.bias"])
    changed = {path for path in after if not np.array_equal(before[path], after[path])}
    assert changed == {target for _, _, target, _ in report.loaded}
    assert len(report.loaded) == 30
    assert report.loaded[0] == (
        *("features.0.weight", (4, 3, 3, 3)),
        *("block1_conv1/kernel", (3, 3, 3, 4)),
    )
    left = dict(report.skipped)
    assert left["score_fr"] == "not in the file: left as initialised"
    assert left["classifier.6.weight"].startswith("not used: scores of ImageNet")
    assert set(left) == {
        *("score_fr", "score_pool4", "score_pool3", "upscore2", "upscore_pool4", "upscore8"),
        *("classifier.6.weight", "classifier.6.bias"),
    }


def test_the_report_is_an_aligned_table(save):
    lines = str(load_weights(fcn32s(**NARROW), save(vgg16()))).splitlines()
    assert lines[0].endswith("file: torchvision's VGG16, 30 variables loaded")
    rows = lines[1:31]
    assert rows[0].split() == ["features.0.weight", "4x3x3x3", "block1_conv1/kernel", "3x3x3x4"]
    assert len({row.index(row.split()[2], 30) for row in rows}) == 1


def test_weights_argument(save):
    tensors = vgg16()
    model = fcn16s(**NARROW, weights=save(tensors))
    bias = model.get_layer("block5_conv3").bias
    np.testing.assert_array_equal(np.array(bias.value), tensors["features.28.bias"])


def test_another_head_width_leaves_fc6_and_fc7(save):
    path = save(vgg16(head=12))
    model = fcn8s(**NARROW)
    before = variables(model)
    report = load_weights(model, path)
    assert len(report.loaded) == 26
    reason = "12 wide in the file, but the model has head_width=8: left as initialised"
    assert dict(report.skipped)["fc6"] == dict(report.skipped)["fc7"] == reason
    for name in ("fc6/kernel", "fc6/bias", "fc7/kernel"):
        np.testing.assert_array_equal(before[name], variables(model)[name])


def test_convolutions_only(save):
    report = load_weights(fcn8s(**NARROW), save(vgg16(head=0)))
    assert dict(report.skipped)["fc6"] == "not in the file: left as initialised"


def test_a_data_parallel_prefix_is_dropped(save):
    path = save({f"module.{name}": array for name, array in vgg16().items()})
    assert len(load_weights(fcn8s(**NARROW), path).loaded) == 30


def as_timm(tensors):
    linear = {"classifier.0": "pre_logits.fc1", "classifier.3": "pre_logits.fc2"}
    renamed = {}
    for name, array in tensors.items():
        module, _, kind = name.rpartition(".")
        if module in linear and kind == "weight":
            size = 7 if module == "classifier.0" else 1
            array = array.reshape(len(array), -1, size, size)
        renamed[f"{linear.get(module, module.replace('classifier.6', 'head.fc'))}.{kind}"] = array
    return renamed


@pytest.mark.parametrize("dtype", [np.float32, np.float16])
def test_timm_s_layout_sets_the_same(save, dtype):
    tensors = {name: array.astype(dtype) for name, array in vgg16().items()}
    one, other = fcn32s(**NARROW), fcn32s(**NARROW)
    first = load_weights(one, save(tensors))
    second = load_weights(other, save(as_timm(tensors)))
    assert second.format == "timm's VGG16"
    assert second.loaded[-4][:2] == ("pre_logits.fc1.weight", (8, 32, 7, 7))
    assert [row[2:] for row in second.loaded] == [row[2:] for row in first.loaded]
    assert "head.fc.weight" in dict(second.skipped)
    ones, others = variables(one), variables(other)
    for _, _, target, _ in first.loaded:
        assert ones[target].dtype == np.float32
        np.testing.assert_array_equal(ones[target], others[target])


@pytest.mark.torch
def test_bfloat16_safetensors(tmp_path):
    torch = pytest.importorskip("torch")
    from safetensors.torch import save_file

    tensors = {name: torch.from_numpy(array).bfloat16() for name, array in vgg16().items()}
    save_file(tensors, tmp_path / "a.safetensors")
    model = fcn32s(**NARROW, weights=tmp_path / "a.safetensors")
    truth = tensors["features.28.bias"].float().numpy()
    np.testing.assert_array_equal(np.array(model.get_layer("block5_conv3").bias.value), truth)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {"features.28.bias": random(31)},
            "features.28.bias of shape 31 gives block5_conv3/bias the shape 31, "
            "but the model has 32; build it with the file's backbone_width",
        ),
        ({"features.28.weight": random(32, 32)}, "of shape 32x32 can't become block5_conv3/kernel"),
        ({"features.28.bias": np.full(32, np.nan, np.float32)}, "holds NaN or infinity"),
        ({"classifier.0.weight": random(8, 50)}, "of shape 8x50 can't become fc6/kernel"),
        ({"classifier.0.bias": np.full(8, np.nan, np.float32)}, "IMAGENET1K_FEATURES"),
        ({"classifier.0.weight": random(8, 49)}, "shape 7x7x1x8, but the model has 7x7x32x8"),
        ({"classifier.3.bias": None}, "has 1 of the 2 variables of fc7"),
        ({"features.28.bias": None}, "of no known network; known are torchvision's"),
        ({"features.30.weight": random(1)}, "of no known network"),
        ({"features.1.running_mean": random(4)}, "of no known network"),
    ],
)
def test_a_refused_file_changes_nothing(save, unchanged, change, message):
    tensors = {**vgg16(), **change}
    path = save({name: array for name, array in tensors.items() if array is not None})
    before = variables(unchanged)
    with pytest.raises(InputError, match=message) as caught:
        load_weights(unchanged, path)
    assert str(caught.value).startswith(f"{path}: ")
    assert "\n" not in str(caught.value)
    for name, value in variables(unchanged).items():
        np.testing.assert_array_equal(value, before[name])


@settings(
    max_examples=40,
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(
    st.dictionaries(
        st.sampled_from(sorted(vgg16())),
        st.lists(st.integers(0, 9), max_size=5),
        min_size=1,
        max_size=2,
    )
)
def test_any_shapes_are_refused_or_fit(save, unchanged, shapes):
    path = save(vgg16() | {name: random(*shape) for name, shape in shapes.items()})
    try:
        report = load_weights(unchanged, path)
    except InputError as error:
        assert str(error).startswith(f"{path}: ")
        return
    # Only the linear layers may have other shapes, and are then left.
    assert all(name.startswith("classifier") for name in shapes)
    assert len(report.loaded) in (26, 30)


def test_an_unknown_file_lists_its_names(save):
    path = save({"encoder.weight": random(3), "encoder.bias": random(3)})
    with pytest.raises(
        InputError, match=r"holds 2 tensors \(encoder.(weight|bias), encoder.\w+\) of no"
    ):
        load_weights(fcn32s(**NARROW), path)


def test_another_model_is_refused(save):
    model = keras.Sequential([keras.Input((8,)), keras.layers.Dense(2)], name="other")
    with pytest.raises(InputError, match="model 'other' lacks block1_conv1, crop, fc6"):
        load_weights(model, save(vgg16()))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"\x89HDF\r\n\x1a\n" + bytes(5) + b"\x08\x08" + bytes(93), "damaged HDF5"),
        (b"\xff\xff\0\0\0\0\0\0{", "damaged safetensors"),
        (b"\x02\0\0\0\0\0\0\0{}", "holds 0 tensors"),
    ],
)
def test_damaged_files(tmp_path, content, message):
    path = tmp_path / "x.safetensors"
    path.write_bytes(content)
    with pytest.raises(InputError, match=message):
        load_weights(fcn32s(**NARROW), path)


def test_predictions_after_loading_use_the_new_normalisation(save, tmp_path):
    """`predict` compiles the old numbers in, so it must compile again."""
    model = fcn32s(**NARROW)
    image = np.full((1, 32, 32, 3), 200, np.uint8)
    model.get_layer("score_fr").kernel.assign(random(1, 1, 8, 5))
    model.get_layer("normalize").scale = [0.5, 0.5, 0.5]
    model.predict(image, verbose=0)
    load_weights(model, save(vgg16()))
    np.testing.assert_allclose(
        model.predict(image, verbose=0),
        keras.ops.convert_to_numpy(model(image)),
        rtol=1e-4,
        atol=1e-4,
    )
    assert model.get_layer("normalize").scale[0] == pytest.approx(1 / (255 * 0.229))
