import json
import os
import subprocess
import sys

import keras
import numpy as np
import pytest

import fcn_keras
from fcn_keras import InputError
from fcn_keras.export import onnx_file
from fcn_keras.export.job import Job, pure

onnxruntime = pytest.importorskip("onnxruntime")
pytest.importorskip("onnx")

# Keras' own route, in a process of its own for its backend.
KERAS_ROUTE = """
import sys
import fcn_keras, keras, numpy as np
model = keras.models.load_model(sys.argv[1])
model(np.zeros((1, 40, 50, 3), "float32"))
model.export(sys.argv[2], format="onnx", verbose=False)
"""


def written(model, path, output="logits", size=None):
    onnx_file.write(Job(model, size, output, {"names": ["a", "b"], "void": 255}), path)
    return onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])


def images(*shape):
    return np.random.default_rng(1).integers(0, 256, (*shape, 3)).astype(np.float32)


def logits_of(model, images):
    import jax

    predict, values = pure(model)
    with jax.default_matmul_precision("highest"):
        return np.asarray(jax.jit(predict)(values, images))


def test_it_names_what_it_takes_and_returns(model, tmp_path):
    session = written(model, tmp_path / "m.onnx")
    (images,), (logits,) = session.get_inputs(), session.get_outputs()
    assert (images.name, images.type) == ("images", "tensor(float)")
    assert images.shape == ["batch", "height", "width", 3]
    assert (logits.name, logits.shape) == ("logits", ["batch", "height", "width", 6])
    facts = session.get_modelmeta().custom_metadata_map
    assert {name: json.loads(value) for name, value in facts.items()} == {
        "names": ["a", "b"],
        "void": 255,
    }
    fixed = written(model, tmp_path / "m.onnx", "classes", (33, 47))
    assert fixed.get_inputs()[0].shape == ["batch", 33, 47, 3]
    assert (fixed.get_outputs()[0].type, fixed.get_outputs()[0].shape) == (
        "tensor(uint8)",
        ["batch", 33, 47],
    )


def test_each_output_follows_from_the_logits(model, tmp_path):
    x = images(2, 37, 53)
    returned = {
        output: written(model, tmp_path / f"{output}.onnx", output).run(None, {"images": x})[0]
        for output in ("logits", "classes", "probabilities")
    }
    expected = logits_of(model, x)
    assert np.abs(returned["logits"] - expected).max() < 2e-6 * np.ptp(expected)
    np.testing.assert_array_equal(returned["classes"], returned["logits"].argmax(-1))
    powers = np.exp(returned["logits"].astype(np.float64))
    shares = powers / powers.sum(-1, keepdims=True)
    np.testing.assert_allclose(returned["probabilities"], shares, atol=1e-6)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("builder", "options"),
    [
        (fcn_keras.fcn16s, {}),
        (fcn_keras.fcn32s, {}),
        (fcn_keras.fcn8s, {"geometry": "caffe"}),
        (fcn_keras.fcn8s, {"batch_norm": True, "backbone": "vgg16_bn", "at_once": True}),
        (fcn_keras.fcn8s, {"backbone": "vgg19", "upsampling": "learned"}),
    ],
)
def test_every_model_computes_the_same(build, builder, options, tmp_path):
    model = build(builder, **options)
    session = written(model, tmp_path / "m.onnx")
    for shape in ((1, 1, 1), (1, 33, 47), (2, 100, 133)):
        x = images(*shape)
        expected = logits_of(model, x)
        got = session.run(None, {"images": x})[0]
        assert np.abs(got - expected).max() < 5e-6 * np.ptp(expected)


@pytest.mark.slow
@pytest.mark.torch
def test_it_agrees_with_keras_own_route(model, tmp_path):
    pytest.importorskip("torch")
    pytest.importorskip("onnxscript")
    model.save(tmp_path / "m.keras")
    command = [sys.executable, "-c", KERAS_ROUTE, tmp_path / "m.keras", tmp_path / "keras.onnx"]
    subprocess.run(command, env={**os.environ, "KERAS_BACKEND": "torch"}, check=True)
    theirs = onnxruntime.InferenceSession(tmp_path / "keras.onnx")
    ours = written(model, tmp_path / "ours.onnx")
    (name,) = (entry.name for entry in theirs.get_inputs())
    for shape in ((1, 40, 50), (2, 100, 133)):
        x = images(*shape)
        expected = theirs.run(None, {name: x})[0]
        got = ours.run(None, {"images": x})[0]
        assert np.abs(got - expected).max() < 2e-6 * np.ptp(expected)


def test_other_layers_are_refused(tmp_path):
    image = keras.Input((None, None, 3))
    elu = keras.layers.Conv2D(2, 1, activation="elu", name="score")(image)
    with pytest.raises(InputError, match=r"layer score \(Conv2D\) has settings that the ONNX"):
        written(keras.Model(image, elu), tmp_path / "m.onnx")
    strange = keras.layers.LeakyReLU(name="leaky")(image)
    with pytest.raises(InputError, match=r"layer leaky \(LeakyReLU\) has no counterpart"):
        written(keras.Model(image, strange), tmp_path / "m.onnx")
