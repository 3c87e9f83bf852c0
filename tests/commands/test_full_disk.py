"""Where a command can't write, one line names the file, and nothing half-written stays."""

import contextlib
import hashlib
import importlib
import resource
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from safetensors.numpy import save

from fcn_keras.data.classes import SHAPES
from fcn_keras.data.shapes import write_shapes

# Keras copies its variables in a way that NumPy 2 wants spelled differently.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation doesn't accept a copy")


@contextlib.contextmanager
def small_files(limit):
    """No file may grow above `limit` bytes, as on a full disk."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


@pytest.fixture
def refused(monkeypatch, capsys):
    """Runs a command without room on the disk; returns its only line on the standard error."""

    def refused(command, *arguments, status=1, limit=100):
        monkeypatch.setattr(sys, "argv", [command, *map(str, arguments)])
        module = importlib.import_module(f"fcn_keras.commands.{command}")
        with pytest.raises(SystemExit) as stop, small_files(limit):
            module.run()
        errors = capsys.readouterr().err
        assert stop.value.code == status, errors
        (line,) = errors.splitlines()
        return line

    return refused


@pytest.fixture
def out(tmp_path):
    (tmp_path / "out").mkdir()
    return tmp_path / "out"


@pytest.fixture
def shapes(tmp_path):
    write_shapes(tmp_path / "shapes", train=1, val=1, size=64)
    return ("--dataset", "shapes", "--data-dir", tmp_path / "shapes")


def left(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file()]


def test_predict(refused, save_small_model, tmp_path, out):
    pixels = np.random.default_rng(0).integers(0, 256, (40, 50, 3), np.uint8)
    Image.fromarray(pixels).save(tmp_path / "photo.png")
    line = refused("predict", save_small_model(6), tmp_path / "photo.png", "--out", out)
    assert line.startswith(f"error: {out}/") and "can't be written (File too large)" in line
    assert left(out) == []


@pytest.mark.parametrize("option", ["--json", "--report"])
def test_evaluate(refused, save_small_model, shapes, out, option):
    target = out / "scores"
    line = refused("evaluate", save_small_model(len(SHAPES)), *shapes, option, target)
    assert line.startswith(f"error: {target}") and "can't be written (File too large)" in line
    assert left(out) == []


def test_convert(refused, tmp_path, out):
    from tests.weights.test_load import FEATURES

    tensors, into = {}, 3
    for index in FEATURES:
        tensors[f"features.{index}.weight"] = np.zeros((2, into, 3, 3), np.float32)
        tensors[f"features.{index}.bias"] = np.zeros(2, np.float32)
        into = 2
    (tmp_path / "vgg.safetensors").write_bytes(save(tensors))
    target = out / "vgg.weights.h5"
    line = refused("convert", tmp_path / "vgg.safetensors", "--out", target)
    assert line.startswith(f"error: {target} can't be written (File too large)")
    assert left(out) == []


def test_download(refused, file_server, monkeypatch, out):
    """What has come stays as .part, to go on from."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(out))
    file_server.body = bytes(500)
    name = f"vgg16-{hashlib.sha256(file_server.body).hexdigest()[:8]}.pth"
    url = f"{file_server.url}/{name}"
    line = refused("convert", "--download", "--url", url, status=2)
    assert line.startswith(f"error: can't fetch {url}: ") and "File too large" in line
    assert [path.name for path in left(out)] == [f"{name}.part"]


@pytest.mark.parametrize("option", ["--json", "--picture"])
def test_check(refused, shapes, out, option):
    target = out / "report.png"
    line = refused("data", "check", *shapes, option, target)
    assert line.startswith(f"error: {target} can't be written (File too large)")
    assert left(out) == []
