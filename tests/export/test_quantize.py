"""Shorter numbers: the file's size, its difference, and that its proof sees a wrong weight."""

import importlib.util
import json

import numpy as np
import pytest

from fcn_keras import InputError
from fcn_keras.export import FORMATS, ExportError, export_model
from fcn_keras.export.formats import TOLERANCES

# What the libraries of others warn about.
pytestmark = pytest.mark.filterwarnings("ignore")

SIZE = (40, 56)
BYTES = {"float16": 2, "int8": 1}
# Of int8, what the largest weight of a filter becomes.
WHOLE = {".onnx": 64, ".bin": 64, ".tflite": 127}
# Rounding kernels to eleven bits; computing in float16 too would show far more.
NEAR = {"float16": (2e-6, 1e-3), "int8": (1e-3, TOLERANCES["int8"])}
QUANTISED = [name for name, kind in FORMATS.items() if kind.precisions]


@pytest.mark.slow
@pytest.mark.parametrize("quantize", TOLERANCES)
@pytest.mark.parametrize("name", QUANTISED)
def test_it_is_smaller_and_near_and_one_wrong_weight_in_the_file_fails(
    build, photo, tmp_path, monkeypatch, name, quantize
):
    kind = FORMATS[name]
    for package in kind.packages:
        if importlib.util.find_spec(package) is None:
            pytest.skip(f"{package} is not installed")
    model = build(backbone_width=16, head_width=64)
    first = model.get_layer("block1_conv1").kernel
    first.assign(first * np.array([8] + [1] * 15))  # so that the wrong weight, of filter 0, matters
    options = {
        "format": name,
        "input_size": SIZE,
        "check": [photo],
        "quantize": quantize,
        "calibrate": [photo] if quantize == "int8" else [],
    }
    path = tmp_path / f"model{kind.suffix}"
    done = export_model(model, path, **options)
    size = BYTES[quantize] * model.count_params()
    # The rest is scales, the graph, and kernels of scores that int8 leaves in float32.
    assert 0.98 * size < weights_of(path).stat().st_size < 1.15 * size
    least, most = NEAR[quantize]
    assert least < done.proof.difference < most
    record = json.loads(done.record.read_text())
    assert record["quantize"] == quantize
    assert record["calibrated_on"] == (1 if quantize == "int8" else 0)

    writer = importlib.import_module(f"fcn_keras.export.{kind.writer}")
    write = writer.write

    def write_wrongly(job, path):
        write(job, path)
        turn_a_weight(weights_of(path), first, quantize)

    monkeypatch.setattr(writer, "write", write_wrongly)
    wrong = tmp_path / "wrong" / path.name
    with pytest.raises(ExportError, match=f"than {TOLERANCES[quantize]:.0e}"):
        export_model(model, wrong, **options)
    assert not list(wrong.parent.iterdir())


def weights_of(path):
    return path.with_suffix(".bin") if path.suffix == ".xml" else path


def turn_a_weight(file, kernel, quantize):
    """Turns the sign of the largest weight of the first filter, in the file alone."""
    content = bytearray(file.read_bytes())
    filter = np.asarray(kernel)[..., 0]
    dtype, near = "<f2", 1e-3 * np.abs(filter).max()
    if quantize == "int8":
        stored = WHOLE[file.suffix] / np.abs(filter).max()
        dtype, near, filter = "int8", 1, stored * filter
    turned = 0
    for order in ((0, 1, 2), (2, 0, 1)):  # LiteRT's and ONNX' of height, width and channel
        expected = filter.transpose(order).ravel().astype(np.float32)
        for offset in range(BYTES[quantize]):
            count = (len(content) - offset) // BYTES[quantize]
            values = np.frombuffer(content, dtype, count, offset)
            windows = np.lib.stride_tricks.sliding_window_view(values, expected.size)
            for place in np.flatnonzero((np.abs(windows - expected) <= near).all(axis=1)):
                values[place + np.abs(expected).argmax()] *= -1
                turned += 1
    assert turned == 1
    file.write_bytes(content)


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
