"""The converter's command line."""

import functools
import hashlib
import http.server
import os
import pickle
import subprocess
import sys
import threading
from pathlib import Path

import h5py
import numpy as np
import pytest
from safetensors.numpy import load_file, save

from fcn_keras.commands import convert
from fcn_keras.weights import read_torch
from tests.weights.test_load import FEATURES

ROOT = Path(__file__).parents[2]
SCRIPT = ROOT / "tools" / "convert_torch_vgg.py"
WIDTHS = (2, 2, 4, 4, 8, 8, 8, 16, 16, 16, 16, 16, 16)


@pytest.fixture
def checkpoint(tmp_path):
    """A narrow VGG16, named with its hash."""
    random = np.random.default_rng(0)
    tensors, into = {}, 3
    for index, width in zip(FEATURES, WIDTHS, strict=True):
        tensors[f"features.{index}.weight"] = random.normal(size=(width, into, 3, 3))
        tensors[f"features.{index}.bias"] = random.normal(size=width)
        into = width
    for index, shape in ((0, (6, 16 * 49)), (3, (6, 6)), (6, (10, 6))):
        tensors[f"classifier.{index}.weight"] = random.normal(size=shape)
        tensors[f"classifier.{index}.bias"] = random.normal(size=shape[0])
    content = save({name: x.astype(np.float32) for name, x in tensors.items()})
    path = tmp_path / f"vgg16-{hashlib.sha256(content).hexdigest()[:8]}.safetensors"
    path.write_bytes(content)
    return path


def main(arguments):
    """The command's exit status."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", ["convert", *arguments])
        try:
            convert.run()
        except SystemExit as stop:
            return stop.code
    return 0


def test_conversion_prints_a_table(checkpoint, tmp_path, capsys):
    out = tmp_path / "out.weights.h5"
    assert main([str(checkpoint), "--out", str(out), "--head-width", "6"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert "  classifier.0.weight  6x784      fc6/kernel           7x7x16x6" in lines
    assert lines[-1] == f"wrote {out}"
    with h5py.File(out) as file:
        linear = load_file(checkpoint)["classifier.3.weight"]
        np.testing.assert_array_equal(file["layers/fc7/vars/0"][0, 0], linear.T)


def test_another_head_width_is_said(checkpoint, tmp_path, capsys):
    assert main([str(checkpoint), "--out", str(tmp_path / "out.weights.h5")]) == 0
    assert "fc6                  left out: 6 wide in the file" in capsys.readouterr().out


def test_inspect(checkpoint, capsys):
    assert main([str(checkpoint), "--inspect"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == f"{checkpoint}: 32 tensors"
    assert "  classifier.3.weight  float32  6x6" in lines


def test_a_wrong_hash_is_refused(checkpoint, tmp_path, capsys):
    wrong = checkpoint.rename(tmp_path / "vgg16-00000000.pth")
    assert main([str(wrong), "--out", str(tmp_path / "out.weights.h5")]) == 2
    output = capsys.readouterr()
    assert output.err.startswith(f"error: file {wrong} has sha256 ")
    assert output.err.count("\n") == 1
    assert [path.name for path in tmp_path.iterdir()] == [wrong.name]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "no file is given"),
        (["a.pth"], "nothing to do: add --out"),
        (["a.pth", "--download", "--inspect"], "a.pth is given along with --download"),
        (["--head-width", "x"], "--head-width"),
    ],
)
def test_missing_arguments(arguments, message, capsys):
    assert main(arguments) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("error: ") and message in line


def test_download_reports_a_server_that_is_not_there(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert main(["--download", "--url", "http://127.0.0.1:9/vgg16-00000000.pth"]) == 2
    assert "error: can't fetch http://127.0.0.1:9/" in capsys.readouterr().err


class Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *arguments):
        pass


def test_download_and_convert(checkpoint, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    handler = functools.partial(Quiet, directory=str(checkpoint.parent))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        url = f"http://127.0.0.1:{server.server_port}/{checkpoint.name}"
        out = tmp_path / "out.weights.h5"
        status = main(["--download", "--url", url, "--out", str(out), "--head-width", "6"])
        server.shutdown()
        thread.join()
    assert status == 0
    fetched = tmp_path / "cache" / "fcn-keras" / checkpoint.name
    assert fetched.read_bytes() == checkpoint.read_bytes()
    assert f"{fetched}: torchvision's VGG16, 30 variables loaded" in capsys.readouterr().out
    assert out.exists()


def run_script(*arguments):
    """Runs the tool as a user does, in a Python where importing torch fails."""
    program = (
        "import sys, runpy, importlib.abc\n"
        "class NoTorch(importlib.abc.MetaPathFinder):\n"
        "    def find_spec(self, name, *_):\n"
        "        if name.split('.')[0] == 'torch': raise ImportError(name)\n"
        "sys.meta_path.insert(0, NoTorch()); sys.argv = sys.argv[1:]\n"
        "runpy.run_path(sys.argv[0], run_name='__main__')"
    )
    return subprocess.run(
        [sys.executable, "-c", program, str(SCRIPT), *map(str, arguments)],
        cwd=ROOT,
        env=os.environ | {"KERAS_BACKEND": "jax"},
        capture_output=True,
        text=True,
        timeout=120,
    )


def test_an_evil_file_in_a_process_without_torch(tmp_path):
    class Evil:
        def __reduce__(self):
            return os.system, (f"touch {tmp_path}/executed",)

    path = tmp_path / "evil.pth"
    head = (0x1950A86A20F9469CFC6C, 1001, {"little_endian": True})
    path.write_bytes(b"".join(pickle.dumps(x, 2) for x in (*head, {"x": Evil()})))
    done = run_script(path, "--inspect")
    assert done.returncode == 2
    assert f"error: {path}: asks for {os.name}.system, but only tensors" in done.stderr
    assert "Traceback" not in done.stderr
    assert os.listdir(tmp_path) == ["evil.pth"]


def test_the_real_file_in_a_process_without_torch(shared_weights, tmp_path):
    out = tmp_path / "vgg16.weights.h5"
    done = run_script(shared_weights, "--out", out)
    assert done.returncode == 0, done.stderr
    assert "features.28.weight  512x512x3x3  block5_conv3/kernel  3x3x512x512" in done.stdout
    assert "fc6  not in the file: a model's stays as initialised" in done.stdout
    with h5py.File(out) as file:
        kernel = file["layers/block5_conv3/vars/0"][:]
    truth = read_torch(shared_weights)["features.28.weight"]
    np.testing.assert_array_equal(kernel, truth.transpose(2, 3, 1, 0))
