import errno
import importlib.util

import keras
import numpy as np
import pytest

from fcn_keras import InputError
from fcn_keras.export import ExportError, door, export_model, formats, onnx_file, serve
from fcn_keras.export.proof import PHOTOS, _changed, _difference, images_of
from fcn_keras.storage import SaveError


@pytest.fixture
def everything_installed(monkeypatch):
    monkeypatch.setattr(formats.importlib.util, "find_spec", lambda name: name)


@pytest.mark.parametrize(
    ("path", "options", "message"),
    [
        ("m.onnx", {"format": "onx"}, r"format='onx' is not known; did you mean onnx\?"),
        (
            "m.keras",
            {"format": "onnx"},
            r"m.keras must be named \*.onnx to hold ONNX$",
        ),
        (
            "m.tflite",
            {"format": "litert"},
            "LiteRT file takes images of one size: give `input_size`",
        ),
        (
            "m.onnx",
            {"format": "onnx", "input_size": (0, 5)},
            r"input_size=\(0, 5\) is not possible",
        ),
        ("m.onnx", {"format": "onnx", "output": "x"}, "output='x' must be one of logits, classes"),
        (
            "m.safetensors",
            {"format": "compact", "input_size": (33, 47)},
            "takes images of any size and returns logits: leave out `input_size`",
        ),
        ("m.onnx", {"format": "onnx", "check": ["none.jpg"]}, "image none.jpg does not exist"),
    ],
)
@pytest.mark.usefixtures("everything_installed")
def test_what_is_not_possible_is_refused_before_the_work(model, tmp_path, path, options, message):
    with pytest.raises(InputError, match=message):
        export_model(model, tmp_path / "new" / path, **options)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("name", "package", "extra"),
    [
        ("saved_model", "tensorflow", "export"),
        ("onnx", "onnxruntime", "export-onnx"),
        ("openvino", "openvino", "openvino"),
        ("litert", "ai_edge_litert", "export-litert"),
    ],
)
def test_a_missing_package_names_its_extra(tmp_path, monkeypatch, name, package, extra):
    monkeypatch.setattr(
        formats.importlib.util, "find_spec", lambda name: None if name == package else name
    )
    # The model's file isn't even looked for.
    with pytest.raises(InputError, match=rf"{package}.*pip install fcn-keras\[{extra}\]"):
        export_model(tmp_path / "none.keras", tmp_path / "m", format=name)


@pytest.mark.usefixtures("everything_installed")
def test_a_folder_with_other_files_is_kept(model, tmp_path):
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(InputError, match="exists and is not a SavedModel"):
        export_model(model, tmp_path, format="saved-model")
    (tmp_path / "m.onnx").mkdir()
    with pytest.raises(InputError, match=r"m\.onnx is a folder"):
        export_model(model, tmp_path / "m.onnx", format="onnx")
    assert (tmp_path / "notes.txt").read_text() == "mine"


@pytest.mark.usefixtures("everything_installed")
def test_other_backends_and_sizes_are_refused(build, tmp_path, monkeypatch):
    fixed = build(input_shape=(32, 48, 3))
    with pytest.raises(
        InputError, match=r"input_size=\(5, 5\): model fcn8s takes \(32, 48\) alone"
    ):
        export_model(fixed, tmp_path / "m.onnx", format="onnx", input_size=(5, 5))
    monkeypatch.setattr(keras.backend, "backend", lambda: "torch")
    with pytest.raises(InputError, match="the backend is torch, but export runs on JAX"):
        export_model(fixed, tmp_path / "m.onnx", format="onnx")


def full(job, path):
    path.write_bytes(b"begun")
    raise OSError(errno.ENOSPC, "No space left on device")


class StrangeError(Exception):
    """As TensorFlow's, which are no OSError."""


def strangely_full(job, path):
    raise StrangeError("lines\n{{node x}} m.index; No space left on device [Op:MergeV2]\nmore")


@pytest.mark.usefixtures("everything_installed")
@pytest.mark.parametrize("write", [full, strangely_full])
def test_a_full_disk_is_one_line_and_leaves_nothing(model, tmp_path, monkeypatch, write):
    monkeypatch.setattr(onnx_file, "write", write)
    (tmp_path / "m.onnx").write_bytes(b"former")
    with pytest.raises(SaveError, match=r"^\S+m.onnx can't be written \(No space left on device\)"):
        export_model(model, tmp_path / "m.onnx", format="onnx")
    assert [path.read_bytes() for path in tmp_path.iterdir()] == [b"former"]


@pytest.mark.usefixtures("everything_installed")
@pytest.mark.parametrize("error", [ExportError, KeyboardInterrupt])
def test_a_failed_proof_or_a_break_leaves_what_was_there(model, tmp_path, monkeypatch, error):
    def fail(*_):
        raise error

    monkeypatch.setattr(onnx_file, "write", lambda job, path: path.write_bytes(b"new"))
    monkeypatch.setattr(door, "prove", fail)
    (tmp_path / "m.onnx").write_bytes(b"former")
    with pytest.raises(error):
        export_model(model, tmp_path / "m.onnx", format="onnx")
    assert [path.read_bytes() for path in tmp_path.iterdir()] == [b"former"]


def test_a_file_that_is_none_says_so_in_one_line(model, tmp_path, monkeypatch):
    pytest.importorskip("onnx")
    pytest.importorskip("onnxruntime")
    monkeypatch.setattr(onnx_file, "write", lambda job, path: path.write_bytes(b"none"))
    with pytest.raises(ExportError, match=r"^onnxruntime can't run m.onnx: .*$"):
        export_model(model, tmp_path / "m.onnx", format="onnx")
    assert not list(tmp_path.iterdir())


def test_differences_are_shares_of_the_range():
    logits = np.array([[[[0.0, 4.0, 3.0], [10.0, 0.0, 0.0]]]])
    assert _difference(logits, logits + 0.5, "logits") == pytest.approx(0.05)
    assert _difference(logits, np.array([[[1, 0]]], np.uint8), "classes") == 0
    assert _difference(logits, np.array([[[2, 0]]], np.uint8), "classes") == pytest.approx(0.1)
    assert _difference(logits, np.array([[[3, 0]]], np.uint8), "classes") == np.inf
    shares = np.exp(logits) / np.exp(logits).sum(-1, keepdims=True)
    assert _difference(logits, shares, "probabilities") == pytest.approx(0)
    assert _difference(logits, shares + 0.02, "probabilities") == pytest.approx(0.002)
    assert _changed([(logits, np.array([[[2, 0]]]))], "classes") == 0.5
    assert _changed([(logits, logits[..., [2, 0, 1]])], "logits") == 1.0
    assert _changed([(logits, logits * 0.5)], "logits") == 0


def test_nan_never_passes():
    logits = np.zeros((1, 1, 1, 2))
    assert not _difference(logits, logits + np.nan, "logits") <= 1


def test_the_packages_photos():
    images = images_of((), None, batches=True)
    assert [*images] == [
        "astronaut.jpg 333x333",
        "cat.jpg 451x300",
        "coffee.jpg 500x333",
        "2 of noise 106x75",
    ]
    assert len(PHOTOS) == 3
    small = images_of((), None, batches=False, max_side=320)
    assert list(small) == ["astronaut.jpg 320x320", "cat.jpg 320x213", "coffee.jpg 320x213"]
    assert [image.shape[1:3] for image in small.values()] == [(320, 320), (213, 320), (213, 320)]
    fixed = images_of((), (33, 47), batches=False)
    assert {image.shape for image in fixed.values()} == {(1, 33, 47, 3)}
    assert all(image.dtype == np.float32 and image.max() > 200 for image in fixed.values())


def test_each_format_has_its_program():
    writers = {kind.writer for kind in formats.FORMATS.values()}
    assert writers == set(serve.RUNTIMES) == set(serve.LOADERS)
    for writer in writers:
        assert importlib.util.find_spec(f"fcn_keras.export.{writer}")
