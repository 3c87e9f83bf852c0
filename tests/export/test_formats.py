"""Every format end to end: written, proven in its runtime alone, and refused once it is broken."""

import importlib.util
import json
import struct

import keras
import numpy as np
import pytest

from fcn_keras.export import FORMATS, ExportError, export_model
from fcn_keras.export.proof import images_of, prove

# What the libraries of others warn about.
pytestmark = pytest.mark.filterwarnings("ignore")

SIZE = (40, 56)


@pytest.fixture
def exported(model, photo, tmp_path):
    """Exports to a format, with a bias of the scores that no other weight equals."""

    def export(name, **options):
        for package in FORMATS[name].packages:
            if importlib.util.find_spec(package) is None:
                pytest.skip(f"{package} is not installed")
        path = tmp_path / ("model" + FORMATS[name].suffix)
        return export_model(model, path, format=name, check=[photo], **options)

    return export


@pytest.mark.slow
@pytest.mark.parametrize("name", FORMATS)
def test_a_broken_weight_fails_the_proof(model, photo, exported, name):
    bias = model.get_layer("score_fr").bias
    bias.assign(np.where(np.arange(6) == 2, 0.7071234, bias.value))
    size = SIZE if FORMATS[name].extern else None
    done = exported(name, input_size=size)
    kind = FORMATS[name]
    assert 0 <= done.proof.difference < (5e-6 if kind.extern else 0.05)
    names = {done.path.name, done.record.name, "model.bin" if name == "openvino" else ""}
    assert {path.name for path in done.path.parent.iterdir()} <= names

    images = images_of([photo], size, kind.batches)
    assert prove(model, done.path, kind, "logits", images).difference == pytest.approx(
        done.proof.difference, rel=0.5, abs=1e-7
    )
    replace_float(done.path.parent, 0.7071234, 0.7071234 + 100 * kind.tolerance())
    with pytest.raises(ExportError):
        prove(model, done.path, kind, "logits", images)


def replace_float(folder, value, other):
    """Overwrites the one place in the files that holds this float32."""
    old, new = (struct.pack("<f", number) for number in (value, other))
    places = [path for path in folder.rglob("*") if path.is_file() and old in path.read_bytes()]
    assert len(places) == 1, places
    content = places[0].read_bytes()
    assert content.count(old) == 1
    places[0].write_bytes(content.replace(old, new))


@pytest.mark.parametrize("output", ["classes", "probabilities"])
@pytest.mark.parametrize("name", [name for name in FORMATS if FORMATS[name].extern])
@pytest.mark.slow
def test_other_outputs(model, photo, exported, name, output):
    done = exported(name, input_size=SIZE, output=output)
    assert done.proof.difference < 5e-6
    assert done.proof.pixels_changed < 1e-3


@pytest.mark.slow
def test_the_record(model, exported):
    done = exported("onnx", output="classes")
    record = json.loads(done.record.read_text())
    assert record["model"]["names"][:2] == ["background", "circle"]
    assert record["model"]["colors"][1] == [220, 50, 47]
    assert record["model"]["recipe"] == "shapes"
    assert record["model"]["max_side"] == done.max_side == 64
    assert record["input"]["shape"] == [None, None, None, 3]
    assert record["output"] == {"name": "classes", "dtype": "uint8", "shape": [None] * 3}
    assert record["proof"]["images"] == ["noise.png 53x37", "2 of noise 106x75"]
    assert record["proof"]["runtime"].startswith("onnxruntime ")
    assert record["bytes"] == done.path.stat().st_size


@pytest.mark.slow
@pytest.mark.parametrize("name", ["onnx", "openvino"])
def test_shorter_types_become_float32(build, photo, tmp_path, name):
    pytest.importorskip("onnxruntime")
    pytest.importorskip("openvino")
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        model = build()
    finally:
        keras.config.set_dtype_policy("float32")
    path = tmp_path / ("model" + FORMATS[name].suffix)
    assert export_model(model, path, format=name, check=[photo]).proof.difference < 5e-6
