import builtins
import subprocess
import sys

import keras
import numpy as np
import pytest

import fcn_keras
from fcn_keras import InputError
from fcn_keras.export import export_saved_model, largest_difference, saved_model

SERVE_MANY = """
import sys
for package in ("jax", "jaxlib", "keras", "fcn_keras"):
    sys.modules[package] = None
import numpy as np
import tensorflow as tf
model = tf.saved_model.load(sys.argv[1])
serve = model.signatures["serving_default"]
for batch, height, width in [(1, 1, 1), (2, 37, 53), (1, 500, 333)]:
    logits = serve(images=tf.zeros((batch, height, width, 3)))["logits"]
    print(*logits.shape, logits.dtype.name, bool(tf.reduce_all(tf.math.is_finite(logits))))
"""


@pytest.fixture(scope="module")
def model():
    return random_scores(fcn_keras.fcn8s(21, backbone_width=4, head_width=8))


def random_scores(model):
    random = np.random.default_rng(2)
    for layer in model.layers:
        if layer.name.startswith("score"):
            for variable in layer.weights:
                variable.assign(random.normal(size=variable.shape))
    return model


@pytest.mark.tf
@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_any_size_runs_where_jax_and_keras_are_out_of_reach(model, tmp_path):
    difference = export_saved_model(model, tmp_path / "served")
    assert 0 < difference < 1e-5
    assert [path.name for path in tmp_path.iterdir()] == ["served"]
    command = [sys.executable, "-c", SERVE_MANY, str(tmp_path / "served")]
    lines = subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()
    assert lines == [
        "1 1 1 21 float32 True",
        "2 37 53 21 float32 True",
        "1 500 333 21 float32 True",
    ]
    # The check itself must see a wrong export: the same file against other weights.
    other = random_scores(fcn_keras.fcn8s(21, backbone_width=4, head_width=8))
    assert largest_difference(other, tmp_path / "served", [(1, 40, 30)]) > 0.01


@pytest.mark.tf
@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    ("builder", "options"),
    [
        (fcn_keras.fcn16s, {}),
        (fcn_keras.fcn32s, {}),
        (fcn_keras.fcn8s, {"geometry": "caffe"}),
        (fcn_keras.fcn8s, {"batch_norm": True}),
    ],
)
def test_every_model_exports(builder, options, tmp_path):
    model = random_scores(builder(5, backbone_width=4, head_width=8, **options))
    assert export_saved_model(model, tmp_path / "served") < 1e-5


@pytest.mark.tf
@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_a_fixed_size_replaces_an_older_export(model, tmp_path):
    (tmp_path / "served").mkdir()
    (tmp_path / "served" / "saved_model.pb").write_bytes(b"old")
    assert export_saved_model(model, tmp_path / "served", input_size=(33, 47)) < 1e-5
    assert (tmp_path / "served" / "saved_model.pb").stat().st_size > 1000


@pytest.mark.tf
@pytest.mark.filterwarnings("ignore")
def test_a_difference_above_the_tolerance_leaves_nothing_behind(model, tmp_path, monkeypatch):
    monkeypatch.setattr(saved_model, "largest_difference", lambda *_: 0.002)
    with pytest.raises(RuntimeError, match=r"differ from the model's by 2.0e-03 .* not written"):
        export_saved_model(model, tmp_path / "served", input_size=(20, 20))
    assert not list(tmp_path.iterdir())


def test_a_missing_tensorflow_names_the_extra(model, tmp_path, monkeypatch):
    real = builtins.__import__

    def without_tensorflow(name, *args, **kwargs):
        if name == "tensorflow":
            raise ImportError(name)
        return real(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", without_tensorflow)
    with pytest.raises(InputError, match=r"pip install fcn-keras\[export\]"):
        export_saved_model(model, tmp_path / "served")


def test_a_folder_with_other_files_is_kept(model, tmp_path):
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(InputError, match="exists and is not a SavedModel"):
        export_saved_model(model, tmp_path)
    assert (tmp_path / "notes.txt").read_text() == "mine"


def test_other_backends_and_sizes_are_refused(model, tmp_path, monkeypatch):
    with pytest.raises(InputError, match=r"input_size=\(0, 5\)"):
        export_saved_model(model, tmp_path / "served", input_size=(0, 5))
    monkeypatch.setattr(keras.backend, "backend", lambda: "torch")
    with pytest.raises(InputError, match="the backend is torch, but export runs on JAX"):
        export_saved_model(model, tmp_path / "served")
