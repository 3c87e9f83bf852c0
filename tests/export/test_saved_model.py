import subprocess
import sys

import pytest

from fcn_keras.export import export_saved_model, largest_difference

pytestmark = [
    pytest.mark.tf,
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore"),
]

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
pixels = tf.cast(tf.random.uniform((2, 37, 53, 3), 0, 256, tf.int32), tf.uint8)
floats = tf.cast(pixels, tf.float32)
expected = serve(images=floats)["logits"]
for same in (
    model.signatures["uint8"](images=pixels)["logits"],
    model.serve(pixels),
    model.serve(floats),
):
    print(bool(tf.reduce_all(same == expected)))
"""


def test_any_size_of_floats_and_bytes_where_jax_and_keras_are_out_of_reach(model, build, tmp_path):
    pytest.importorskip("tensorflow")
    difference = export_saved_model(model, tmp_path / "served")
    assert 0 < difference < 5e-6
    assert [path.name for path in tmp_path.iterdir()] == ["served"]
    command = [sys.executable, "-c", SERVE_MANY, str(tmp_path / "served")]
    lines = subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()
    assert lines == [
        "1 1 1 6 float32 True",
        "2 37 53 6 float32 True",
        "1 500 333 6 float32 True",
        *["True"] * 3,
    ]
    # The check itself must see a wrong export: the same file against other weights.
    assert largest_difference(build(seed=2), tmp_path / "served", [(1, 40, 30)]) > 0.01


def test_a_fixed_size_replaces_an_older_export(model, tmp_path):
    pytest.importorskip("tensorflow")
    (tmp_path / "served").mkdir()
    (tmp_path / "served" / "saved_model.pb").write_bytes(b"old")
    assert export_saved_model(model, tmp_path / "served", input_size=(33, 47)) < 5e-6
    assert (tmp_path / "served" / "saved_model.pb").stat().st_size > 1000
    assert [path.name for path in tmp_path.iterdir()] == ["served"]
