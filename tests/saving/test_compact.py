"""Compact files: rounding of at most half a level, everything else exact, and clear errors."""

import json

import keras
import numpy as np
import pytest
import safetensors.numpy
from safetensors.numpy import load_file, save_file

import fcn_keras
from fcn_keras import InputError
from fcn_keras.saving import blueprint, compact, load_compact, save_compact


def random_model(**options):
    model = fcn_keras.fcn8s(5, backbone_width=8, head_width=16, **options)
    rng = np.random.default_rng(0)
    for variable in model.variables:
        if "upscore" not in variable.path and "float" in variable.dtype:
            variable.assign(rng.normal(size=variable.shape, scale=0.1) ** 2)
    return model


@pytest.mark.parametrize("options", [{}, {"batch_norm": True}, {"geometry": "caffe"}], ids=str)
def test_kernels_are_within_half_a_level_and_all_else_is_equal(tmp_path, options):
    model = random_model(**options)
    save_compact(model, tmp_path / "model.safetensors")
    loaded = fcn_keras.load_model(tmp_path / "model.safetensors")
    assert loaded.to_json() == model.to_json()
    for before, after in zip(model.variables, loaded.variables, strict=True):
        x, y = np.asarray(before.value), np.asarray(after.value)
        if x.ndim == 4 and "upscore" not in before.path:
            level = np.abs(x).max(axis=(0, 1, 2)) / 127
            assert (np.abs(x - y) <= level * 0.5001).all(), before.path
            assert (x != y).any()
        elif "seed" not in before.path:
            np.testing.assert_array_equal(x, y, err_msg=before.path)


def test_learned_upsampling_is_kept(tmp_path):
    model = random_model(upsampling="learned")
    kernel = model.get_layer("upscore2").kernel
    kernel.assign(np.asarray(kernel.value) * 0.5)
    save_compact(model, tmp_path / "model.safetensors")
    loaded = fcn_keras.load_model(tmp_path / "model.safetensors")
    np.testing.assert_allclose(loaded.get_layer("upscore2").kernel, kernel, atol=0.5 / 254, rtol=0)
    assert "upscore8/kernel" not in load_file(tmp_path / "model.safetensors")


def test_dead_filters_stay_zero(tmp_path):
    model = random_model()
    layer = model.get_layer("score_fr")
    layer.kernel.assign(np.zeros(layer.kernel.shape))
    save_compact(model, tmp_path / "model.safetensors")
    loaded = fcn_keras.load_model(tmp_path / "model.safetensors")
    assert not np.any(loaded.get_layer("score_fr").kernel)


@pytest.mark.slow
def test_a_quarter_of_the_size_and_the_same_segmentation(tmp_path):
    model = random_model()
    model.save(tmp_path / "model.keras")
    save_compact(model, tmp_path / "model.safetensors")
    exact, compact = (
        fcn_keras.Segmenter(tmp_path / name) for name in ("model.keras", "model.safetensors")
    )
    sizes = [(tmp_path / name).stat().st_size for name in ("model.keras", "model.safetensors")]
    assert sizes[1] < 0.3 * sizes[0]
    photo = np.random.default_rng(1).integers(256, size=(70, 90, 3), dtype=np.uint8)
    a, b = exact.logits(photo), compact.logits(photo)
    assert 0 < np.abs(a - b).max() < 0.02 * np.ptp(a)


def test_other_files_are_refused(tmp_path):
    model = random_model()
    whole = tmp_path / "whole.safetensors"
    save_compact(model, whole)
    (tmp_path / "cut.safetensors").write_bytes(whole.read_bytes()[:-100])
    save_file({"x": np.zeros(3)}, tmp_path / "other.safetensors")
    save_file({"x": np.zeros(3)}, tmp_path / "empty.safetensors", metadata={"keras": "{}"})
    for name in ("cut", "other", "empty"):
        with pytest.raises(InputError, match=rf"{name}.safetensors is damaged or no"):
            fcn_keras.load_model(tmp_path / f"{name}.safetensors")
    with pytest.raises(InputError, match=r"must be named \*.safetensors"):
        save_compact(model, tmp_path / "model.keras")


def test_models_that_no_builder_makes_are_refused(tmp_path):
    path = tmp_path / "model.safetensors"
    image = keras.Input((None, None, 3))
    other = keras.Model(image, keras.layers.Conv2D(2, 3)(image), name="other")
    with pytest.raises(InputError, match="model 'other' lacks block1_conv1"):
        save_compact(other, path)
    model = narrow()
    model.get_layer("crop").offset = 1
    with pytest.raises(InputError, match="'fcn8s' is not as fcn8s, fcn16s or fcn32s build one"):
        save_compact(model, path)
    model = narrow()
    model.get_layer("fc6").bias.assign([np.nan, 0])
    with pytest.raises(InputError, match="fc6/bias holds NaN or infinity"):
        save_compact(model, path)
    assert not path.exists()


def narrow(**options):
    return fcn_keras.fcn8s(3, backbone_width=1, head_width=2, **options)


def test_what_was_changed_after_building_is_kept(tmp_path):
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        model = narrow(input_shape=(32, 64, 3), backbone="vgg16_bn")
    finally:
        keras.config.set_dtype_policy("float32")
    model.name = "mine"
    model.get_layer("normalize").scale = [0.5, 1.0, 2.0]
    model.get_layer("block1_conv1").trainable = False
    save_compact(model, tmp_path / "model.safetensors")
    loaded = fcn_keras.load_model(tmp_path / "model.safetensors")
    assert loaded.to_json() == model.to_json()
    assert loaded.get_layer("block2_conv1").compute_dtype == "bfloat16"


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    """A small file, and the values of the model that it gives."""
    path = tmp_path_factory.mktemp("written") / "model.safetensors"
    save_compact(narrow(), path)
    return path.read_bytes(), values(load_compact(path))


def values(model):
    return {v.path: np.array(v.value) for v in model.variables if "float" in v.dtype}


@pytest.mark.parametrize(
    "count", [300, pytest.param(10_000, marks=pytest.mark.slow)], ids=["some", "many"]
)
def test_a_changed_byte_never_gives_other_weights(written, tmp_path, count):
    content, expected = written
    header = 8 + int.from_bytes(content[:8], "little")
    random = np.random.default_rng(count)
    path = tmp_path / "changed.safetensors"
    loaded = 0
    for turn in range(count):
        changed = bytearray(content)
        at = random.integers(header if turn % 2 else 0, len(content) if turn % 2 else header)
        changed[at] ^= random.integers(1, 256)
        path.write_bytes(changed)
        try:
            found = values(load_compact(path))
        except InputError as error:
            assert str(error).startswith(f"model {path} is damaged") and str(error).isprintable()
            continue
        loaded += 1
        assert found.keys() == expected.keys()
        assert all(np.array_equal(found[name], expected[name]) for name in found)
    assert loaded < count / 20


def forge(path, content, change_plan=None, change_tensors=None):
    """A file whose author knows how to make a checksum."""
    tensors = safetensors.numpy.load(content)
    size = int.from_bytes(content[:8], "little")
    plan = json.loads(json.loads(content[8 : 8 + size])["__metadata__"]["model"])
    if change_plan:
        change_plan(plan)
    if change_tensors:
        change_tensors(tensors)
    text = json.dumps(plan)
    digest = compact._checksum(text, tensors)
    metadata = {"format": compact.FORMAT, "model": text, "sha256": digest}
    save_file(tensors, path, metadata=metadata)


def set_design(name, value):
    return lambda plan: plan["design"].update({name: value})


PLANS = {
    "wide head": (set_design("head_width", 10**6), r"fc6/bias is .*\(2,\).* in place of"),
    "wide backbone": (set_design("backbone_width", 10**7), "in place of"),
    "many classes": (set_design("num_classes", 10**5), "num_classes=100000 is above 255"),
    "no classes": (set_design("num_classes", 0), "must be at least 1"),
    "a half": (set_design("head_width", 2.5), "is not a whole number"),
    "endless": (set_design("head_width", 10**400), "damaged"),
    "text": (set_design("dropout", "x"), "damaged"),
    "unknown": (set_design("trunk", 1), "damaged"),
    "colours": (lambda plan: plan.update(name="\x1b[31m"), "the model's name is not printable"),
    "policy": (lambda plan: plan.update(policy="float8"), "policy 'float8' is unknown"),
    "frozen": (lambda plan: plan.update(frozen=3), "damaged"),
    "normalize": (lambda plan: plan["normalize"].update(scale=[1, 2, float("nan")]), "not three"),
    "no info": (lambda plan: plan.pop("info"), "damaged"),
    "info": (lambda plan: plan.update(info=["x"]), "info is not a text"),
}


@pytest.mark.parametrize(("change", "message"), PLANS.values(), ids=PLANS)
def test_hostile_plans_are_refused_before_anything_is_built(
    written, tmp_path, monkeypatch, change, message
):
    def shapes_only(plan, *, with_variables=True, original=blueprint.raise_up):
        assert not with_variables
        return original(plan, with_variables=False)

    monkeypatch.setattr(blueprint, "raise_up", shapes_only)
    forge(tmp_path / "forged.safetensors", written[0], change_plan=change)
    with pytest.raises(InputError, match=message) as caught:
        fcn_keras.load_model(tmp_path / "forged.safetensors")
    assert str(caught.value).isprintable()


def test_variables_without_values_never_get_any():
    with blueprint.shapes_only():
        dense = keras.layers.Dense(3)
        dense.build((None, 2))
    with keras.StatelessScope():  # at its end Keras gives all that wait their values
        keras.layers.Dense(3).build((None, 2))
    assert dense.kernel._value is None


def test_a_model_without_variables_takes_no_memory():
    """As wide as this it would take 100 TB."""
    plan = blueprint.draw(narrow())
    plan["design"]["head_width"] = 10**6
    model = blueprint.raise_up(plan, with_variables=False)
    assert model.get_layer("fc7").kernel.shape == (1, 1, 10**6, 10**6)
    assert all(variable._value is None for variable in model.variables)


TENSORS = {
    "NaN": ("fc6/bias", lambda value: value * np.nan, "it holds NaN or infinity"),
    "NaN scale": ("fc6/kernel.scale", lambda value: value * np.nan, "it holds NaN or infinity"),
    "shape": ("fc6/bias", lambda value: value[:1], "in place of"),
    "type": ("fc6/bias", lambda value: value.astype(np.float64), "in place of"),
    "float kernel": ("fc6/kernel", lambda value: value.astype(np.float32), "in place of"),
}


@pytest.mark.parametrize(("name", "change", "message"), TENSORS.values(), ids=TENSORS)
def test_wrong_tensors_are_refused(written, tmp_path, name, change, message):
    def edit(tensors):
        tensors[name] = np.ascontiguousarray(change(tensors[name]))

    forge(tmp_path / "forged.safetensors", written[0], change_tensors=edit)
    with pytest.raises(InputError, match=message):
        fcn_keras.load_model(tmp_path / "forged.safetensors")


def test_missing_and_unknown_tensors_are_refused(written, tmp_path):
    path = tmp_path / "forged.safetensors"
    forge(path, written[0], change_tensors=lambda tensors: tensors.pop("fc6/bias"))
    with pytest.raises(InputError, match=r"fc6/bias is None in place of \('float32', \(2,\)\)"):
        fcn_keras.load_model(path)
    forge(path, written[0], change_tensors=lambda tensors: tensors.update(x=np.zeros(3)))
    with pytest.raises(InputError, match=r"x is .* in place of None"):
        fcn_keras.load_model(path)


def test_a_newer_format_asks_for_an_update(written, tmp_path):
    path = tmp_path / "newer.safetensors"
    save_file({"x": np.zeros(3)}, path, metadata={"format": "fcn-keras compact 3"})
    with pytest.raises(InputError, match=r"its format is .*compact 3.* update fcn-keras"):
        fcn_keras.load_model(path)
