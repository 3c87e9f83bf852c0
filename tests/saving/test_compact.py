"""Compact files: rounding of at most half a level, everything else exact, and clear errors."""

import keras
import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

import fcn_keras
from fcn_keras.saving import save_compact


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
        with pytest.raises(fcn_keras.InputError, match=rf"{name}.safetensors is damaged or no"):
            fcn_keras.load_model(tmp_path / f"{name}.safetensors")
    with pytest.raises(fcn_keras.InputError, match=r"must be named \*.safetensors"):
        save_compact(model, tmp_path / "model.keras")


def test_a_file_runs_no_code(tmp_path):
    image = keras.Input((None, None, 3))
    model = keras.Model(image, keras.layers.Lambda(lambda x: x + 1, output_shape=(None,))(image))
    save_compact(model, tmp_path / "model.safetensors")
    with pytest.raises(fcn_keras.InputError, match="damaged or no compact model"):
        fcn_keras.load_model(tmp_path / "model.safetensors")
