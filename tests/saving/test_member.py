"""Members of zip archives, read where they lie."""

import io
import zipfile

import keras
import numpy as np
import pytest

from fcn_keras import InputError, fcn32s
from fcn_keras.saving.loading import load_model
from fcn_keras.saving.member import Member

CONTENTS = np.random.default_rng(0).bytes(3 * 2**20 + 17)


@pytest.fixture(params=[zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED], ids=["stored", "deflated"])
def member(request):
    """The second of two, the first of which has a field of its own in its header."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", request.param) as archive:
        first = zipfile.ZipInfo("first.txt")
        first.extra = b"\x99\x99\x02\x00ab"
        archive.writestr(first, "first")
        second = zipfile.ZipInfo("a/weights.h5")
        second.extra, second.compress_type = b"\x99\x99\x03\x00abc", request.param
        archive.writestr(second, CONTENTS)
    return Member(file, zipfile.ZipFile(file), "a/weights.h5")


def test_it_reads_and_seeks_as_bytesio_does(member):
    assert str(member) == "a/weights.h5"
    plain = io.BytesIO(CONTENTS)
    steps = [("read", 5), ("seek", 2**20, 0), ("read", 2**20), ("tell",), ("seek", -9, 2)]
    steps += [("read", 4), ("seek", 2, 1), ("read", 100), ("read", 3), ("seek", 0), ("read",)]
    for name, *arguments in steps:
        assert getattr(member, name)(*arguments) == getattr(plain, name)(*arguments), name
    for file in (member, plain):
        file.seek(len(CONTENTS) - 3)
    ours, theirs = bytearray(8), bytearray(8)
    assert member.readinto(ours) == plain.readinto(theirs) == 3
    assert ours == theirs


@pytest.fixture
def model(tmp_path):
    model = fcn32s(3, backbone_width=4, head_width=8)
    model.save(tmp_path / "model.keras")
    return model


def test_a_packed_model_has_the_same_weights(model, tmp_path):
    with (
        zipfile.ZipFile(tmp_path / "model.keras") as source,
        zipfile.ZipFile(tmp_path / "packed.keras", "w", zipfile.ZIP_DEFLATED) as packed,
    ):
        for name in source.namelist():
            packed.writestr(name, source.read(name))
    for name in ("model.keras", "packed.keras"):
        loaded = load_model(tmp_path / name)
        for ours, theirs in zip(loaded.weights, model.weights, strict=True):
            np.testing.assert_array_equal(ours, theirs)


def test_one_changed_bit_of_a_weight_is_noticed(model, tmp_path):
    path = tmp_path / "model.keras"
    kernel = np.asarray(model.get_layer("fc6").kernel).tobytes()
    data = bytearray(path.read_bytes())
    data[data.index(kernel[:64])] ^= 1
    path.write_bytes(data)
    with pytest.raises(InputError, match=r"model.keras can.t be read: Bad CRC-32"):
        load_model(path)


@pytest.mark.skipif(keras.backend.backend() != "jax", reason="others read by Keras' own means")
def test_the_weights_are_never_in_memory_as_a_file(model, tmp_path, monkeypatch):
    def read(archive, name, *_):
        assert name == "config.json"
        return original(archive, name)

    original = zipfile.ZipFile.read
    monkeypatch.setattr(zipfile.ZipFile, "read", read)
    load_model(tmp_path / "model.keras")
