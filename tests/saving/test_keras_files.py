"""`.keras` files from strangers: one clean line, and no more memory than the file is worth."""

import os
import zipfile

import keras
import numpy as np
import pytest

import fcn_keras
from fcn_keras import InputError, load_model
from fcn_keras.saving.blueprint import shapes_only


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    path = tmp_path_factory.mktemp("written") / "model.keras"
    fcn_keras.fcn8s(3, backbone_width=1, head_width=2).save(path)
    return path


def rewrite(source, target, change_config=lambda text: text, **contents):
    """Copies an archive with another configuration, or other contents of its members."""
    with zipfile.ZipFile(source) as old, zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as new:
        for name in old.namelist():
            content = contents.get(name.replace(".", "_"), old.read(name))
            new.writestr(
                name, change_config(content.decode()) if name == "config.json" else content
            )
    return target


def test_a_packed_archive_loads(written, tmp_path):
    model = load_model(rewrite(written, tmp_path / "model.keras"))
    weights = load_model(written).get_weights()
    assert all(map(np.array_equal, model.get_weights(), weights))


def test_every_variable_is_as_keras_reads_it(written):
    """Ours are built without values first, so one that the file lacks would have none."""
    ours, theirs = load_model(written), keras.models.load_model(written)
    for mine, expected in zip(ours.variables, theirs.variables, strict=True):
        assert mine._value is not None
        if "seed" in mine.path:  # which Keras draws
            assert (mine.shape, mine.dtype) == (expected.shape, expected.dtype)
        else:
            np.testing.assert_array_equal(mine.value, expected.value)
    dropout = next(layer for layer in ours.layers if isinstance(layer, keras.layers.Dropout))
    first, second = (np.asarray(dropout(np.ones((1, 100)), training=True)) for _ in range(2))
    assert np.any(first != second)


@keras.saving.register_keras_serializable("tests")
class Counted(keras.layers.Layer):
    """Has a variable that no gradient changes, and one that isn't saved."""

    def build(self, shape):
        self.count = self.add_weight(shape=(), dtype="int32", initializer="zeros")
        self.scratch = self.add_weight(shape=(2,), initializer="ones")

    def call(self, x):
        return x

    def save_own_variables(self, store):
        store["count"] = self.count

    def load_own_variables(self, store):
        self.count.assign(store["count"])


def test_other_layers_keep_their_variables(tmp_path):
    fcn = fcn_keras.fcn32s(3, backbone_width=1, head_width=2)
    model = keras.Model(fcn.input, Counted(name="counted")(fcn.output))
    model.get_layer("counted").count.assign(7)
    model.save(tmp_path / "model.keras")
    counted = load_model(tmp_path / "model.keras").get_layer("counted")
    assert int(counted.count) == 7
    assert counted.scratch.numpy().tolist() == [1, 1]


def test_a_compiled_model_loads(tmp_path):
    model = fcn_keras.fcn32s(3, backbone_width=1, head_width=2)
    model.compile("adam", "mse")
    model.save(tmp_path / "model.keras")
    assert load_model(tmp_path / "model.keras").output_shape == (None, None, None, 3)


def test_wide_layers_without_weights_are_refused_unbuilt(written, tmp_path, monkeypatch):
    with shapes_only():
        wide = fcn_keras.fcn8s(3, backbone_width=1, head_width=10**6)
    monkeypatch.setattr(keras.models, "load_model", lambda *_, **__: pytest.fail("it was built"))
    path = rewrite(written, tmp_path / "model.keras", lambda _: wide.to_json())
    with pytest.raises(InputError, match=r"its layers have 1000\d+ weights, but it holds"):
        load_model(path)


def test_archives_that_grow_are_refused(written, tmp_path):
    path = rewrite(written, tmp_path / "bomb.keras", model_weights_h5=bytes(10**8))
    with pytest.raises(InputError, match="it unpacks to 1000"):
        load_model(path)


def test_code_in_a_file_is_not_run(tmp_path):
    """The size check builds the model too."""
    path, made = tmp_path / "model.keras", str(tmp_path / "made")
    code = keras.layers.Lambda(lambda x: (__import__("os").makedirs(made, exist_ok=True), x)[1])
    inputs = keras.Input((None, None, 3))
    keras.Model(inputs, keras.layers.Conv2D(3, 1)(code(inputs))).save(path)
    os.rmdir(made)
    with pytest.raises(InputError) as caught:
        load_model(path)
    assert str(caught.value).isprintable() and not os.path.exists(made)
    keras.models.load_model(path, safe_mode=False)
    assert os.path.exists(made)


def test_an_encrypted_archive_is_one_line(written, tmp_path):
    content = bytearray(written.read_bytes())
    for mark, flags in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        place = -1
        while (place := content.find(mark, place + 1)) >= 0:
            content[place + flags] |= 1
    (tmp_path / "model.keras").write_bytes(content)
    with pytest.raises(InputError, match=r"can't be read: .*encrypted"):
        load_model(tmp_path / "model.keras")


@pytest.mark.parametrize(
    "change",
    [
        lambda text: "{}",
        lambda text: "[" * 100_000,
        lambda text: "[]",
        lambda text: text.replace('"filters": 2', '"filters": 0'),
        lambda text: text.replace('"filters": 2', '"filters": "\\u001b[31m\\n"'),
        lambda text: text.replace('"Functional"', '"\\u001b[31mNone"'),
        lambda text: text.replace('"strides": [1, 1]', '"strides": [0, 0]'),
        lambda text: text.replace('"dtype"', '"detype"'),
    ],
    ids=range(8),
)
def test_damaged_configurations_are_one_clean_line(written, tmp_path, change):
    path = rewrite(written, tmp_path / "model.keras", change)
    with pytest.raises(InputError) as caught:
        load_model(path)
    assert str(caught.value).isprintable() and len(str(caught.value)) < 700


@pytest.mark.parametrize(
    "count", [12, pytest.param(200, marks=pytest.mark.slow)], ids=["some", "many"]
)
def test_changed_bytes_are_refused_in_one_line_or_load(written, tmp_path, count):
    content = written.read_bytes()
    random = np.random.default_rng(count)
    path = tmp_path / "model.keras"
    for _ in range(count):
        changed = bytearray(content)
        for _ in range(random.integers(1, 4)):
            changed[random.integers(len(changed))] = random.integers(256)
        path.write_bytes(changed)
        try:
            load_model(path)
        except InputError as error:
            assert str(error).isprintable()
