"""Shorter numbers: the file's size, its difference, and that its proof sees a wrong weight."""

import importlib.util
import json

import numpy as np
import pytest

from fcn_keras import InputError
from fcn_keras.export import FORMATS, ExportError, export_model
from fcn_keras.export.formats import TOLERANCES
from fcn_keras.export.proof import images_of, prove

# What the libraries of others warn about.
pytestmark = pytest.mark.filterwarnings("ignore")

SIZE = (40, 56)
BYTES = {"float16": 2, "int8": 1}
# Rounding kernels to eleven bits; computing in float16 too would show far more.
NEAR = {"float16": (2e-6, 1e-3), "int8": (1e-3, TOLERANCES["int8"])}
QUANTISED = [name for name, kind in FORMATS.items() if kind.precisions]


@pytest.mark.slow
@pytest.mark.parametrize("quantize", TOLERANCES)
@pytest.mark.parametrize("name", QUANTISED)
def test_it_is_smaller_and_near_and_its_proof_sees_one_wrong_weight(
    build, photo, tmp_path, name, quantize
):
    kind = FORMATS[name]
    for package in kind.packages:
        if importlib.util.find_spec(package) is None:
            pytest.skip(f"{package} is not installed")
    model = build(backbone_width=16, head_width=64)
    path = tmp_path / f"model{kind.suffix}"
    done = export_model(
        model,
        path,
        format=name,
        input_size=SIZE,
        check=[photo],
        quantize=quantize,
        calibrate=[photo] if quantize == "int8" else [],
    )
    size = BYTES[quantize] * model.count_params()
    weights = path.with_suffix(".bin") if name == "openvino" else path
    # The rest is scales, the graph, and kernels of scores that int8 leaves in float32.
    assert 0.98 * size < weights.stat().st_size < 1.15 * size
    least, most = NEAR[quantize]
    assert least < done.proof.difference < most
    record = json.loads(done.record.read_text())
    assert record["quantize"] == quantize
    assert record["calibrated_on"] == (1 if quantize == "int8" else 0)

    images = images_of([photo], SIZE, batches=False)
    bias = model.get_layer("score_fr").bias
    bias.assign(bias + 50 * np.eye(6)[2])  # a weight that the file now has wrong
    with pytest.raises(ExportError, match=f"than {TOLERANCES[quantize]:.0e}"):
        prove(model, path, kind, "logits", images, quantize)


@pytest.mark.slow
def test_int8_with_batch_normalisation_at_any_size(build, photo, tmp_path):
    pytest.importorskip("onnxruntime")
    model = build(batch_norm=True, backbone="vgg16_bn", backbone_width=8)
    path = tmp_path / "model.onnx"
    done = export_model(
        model, path, format="onnx", quantize="int8", check=[photo], calibrate=[photo]
    )
    assert done.proof.images == ["noise.png 53x37"]


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("onnx", {"quantize": "int4"}, "quantize='int4' must be one of float16, int8"),
        (
            "saved-model",
            {"quantize": "int8"},
            "quantize='int8': a SavedModel can't be quantised here; choose `format` onnx, openvino",
        ),
        ("compact", {"quantize": "float16"}, "quantize='float16': a compact model can't"),
        ("onnx", {"calibrate": ["a.jpg"]}, "`calibrate` is for int8 only: give quantize='int8'"),
        (
            "onnx",
            {"quantize": "int8", "calibrate": ["none.jpg"]},
            "image none.jpg does not exist",
        ),
    ],
)
def test_what_is_not_possible_is_refused_before_the_work(
    model, tmp_path, monkeypatch, name, options, message
):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: name)
    path = tmp_path / "new" / f"m{FORMATS[name].suffix}"
    with pytest.raises(InputError, match=message):
        export_model(model, path, format=name, **options)
    assert not list(tmp_path.iterdir())
