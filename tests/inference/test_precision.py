"""What a model in another precision keeps."""

import sys
from functools import partial

import ml_dtypes
import numpy as np
import pytest
from keras.src.utils import module_utils

import fcn_keras
from fcn_keras.inference.precision import in_precision
from fcn_keras.models.anatomy import design_of
from fcn_keras.saving import save_compact

ROUNDED = {f"block{b}_conv{c}" for b in range(1, 6) for c in range(1, 4 if b > 2 else 3)}
ROUNDED |= {"fc6", "fc7"}


@pytest.fixture
def model():
    model = fcn_keras.fcn8s(5, backbone_width=4, head_width=8)
    rng = np.random.default_rng(0)
    for variable in model.variables:
        if "float" in variable.dtype:
            variable.assign(rng.normal(size=variable.shape))
    return model


def test_kernels_are_rounded_and_nothing_else(model):
    half = in_precision(model, "bfloat16")
    assert len(half.variables) == len(model.variables)
    for ours, theirs in zip(half.variables, model.variables, strict=True):
        layer, name = ours.path.split("/")[-2:]
        expected = np.asarray(theirs.value)
        if layer in ROUNDED and name == "kernel":
            expected = expected.astype(ml_dtypes.bfloat16)
        assert ours.value.dtype == expected.dtype
        np.testing.assert_array_equal(np.asarray(ours.value), expected)


@pytest.mark.parametrize("suffix", ["keras", "safetensors"])
def test_a_rounded_model_is_written_and_read(suffix, model, tmp_path):
    half = in_precision(model, "bfloat16")
    assert in_precision(half, "bfloat16") is half
    path = tmp_path / f"half.{suffix}"
    (half.save if suffix == "keras" else partial(save_compact, half))(path)
    read = fcn_keras.load_model(path)
    for ours, theirs in zip(read.weights, half.weights, strict=True):
        assert ours.value.dtype == theirs.value.dtype
        values = np.asarray(theirs.value, "float32")
        # Half a step of 127 to each side, then half a unit of bfloat16's 8 binary places.
        lost = 0 if suffix == "keras" else np.abs(values).max() * (1 / 254 + 1 / 512)
        np.testing.assert_allclose(np.asarray(ours.value, "float32"), values, rtol=0, atol=lost)


def test_tensorflow_is_not_imported(model, tmp_path, monkeypatch):
    (tmp_path / "tensorflow.py").write_text("raise RuntimeError('imported')")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "tensorflow", raising=False)
    monkeypatch.setattr(module_utils.tensorflow, "_available", None)
    with pytest.raises(RuntimeError, match="imported"):
        model.get_layer("fc6").get_config()
    assert design_of(model).head_width == 8
    in_precision(in_precision(model, "bfloat16"), "float32")
