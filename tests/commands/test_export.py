import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

import fcn_keras.export
from fcn_keras.commands import export
from fcn_keras.export import Exported, ExportError, Proof

ROOT = Path(__file__).parents[2]

# Keras copies its variables in a way that NumPy 2 wants spelled differently.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation doesn't accept a copy")


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    path = tmp_path_factory.mktemp("model") / "model.keras"
    fcn_keras.fcn8s(6, backbone_width=4, head_width=8).save(path)
    return path


@pytest.fixture(autouse=True)
def former_handler():
    """Undoes what a command does to the tests' own process."""
    before = signal.getsignal(signal.SIGTERM)
    yield
    signal.signal(signal.SIGTERM, before)


@pytest.fixture
def exported(monkeypatch):
    """Stands for the library's export, which tests/export runs: records the call."""
    calls = []

    def record(model, path, **options):
        calls.append((model, path, options))
        if options["input_size"] == (1, 1):
            raise ExportError("onnxruntime 1 computes other logits")
        proof = Proof(
            runtime="TensorFlow 3",
            images=["cat.jpg 451x300"],
            difference=3e-7,
            pixels_changed=0.00125,
            milliseconds=20.4,
            ours=30.6,
        )
        record = path.with_name("export.json")
        return Exported(path=path, record=record, bytes=1_234_567, proof=proof, max_side=320)

    monkeypatch.setattr(fcn_keras.export, "export_model", record)
    return calls


def run(monkeypatch, *arguments):
    monkeypatch.setattr(sys, "argv", ["export", *map(str, arguments)])
    export.run()


def test_the_proof_is_printed(tmp_path, exported, monkeypatch, capsys):
    run(monkeypatch, "m.keras", "--out", tmp_path / "served")
    lines = capsys.readouterr().out.splitlines()
    assert lines == [
        f"{tmp_path}/served: 1.2 MB, logits, float32",
        "Largest difference from the model, in TensorFlow 3 alone: 3.0e-07 of the logits' range "
        "(at most 1e-05); another class at 0.12% of the pixels",
        "cat.jpg 451x300: 20 ms, in JAX 31 ms",
        f"The proof, names and colours: {tmp_path}/export.json",
        "The model expects photos with a longer side of at most 320 pixels: scale larger ones down "
        "before it sees them",
    ]


def test_options_reach_the_library(tmp_path, exported, monkeypatch):
    run(monkeypatch, "m.keras", "--out", "served", "--format", "saved_model", "--backend", "jax")
    run(
        monkeypatch,
        *("m.keras", "--out", "m.onnx", "--format", "onnx", "--input-size", "33", "47"),
        *("--output", "classes", "--check", "a.jpg", "b.jpg"),
        *("--quantize", "int8", "--calibrate", "c.jpg"),
    )
    plain = {
        "format": "saved_model",
        "input_size": None,
        "output": "logits",
        "check": (),
        "quantize": None,
        "calibrate": (),
    }
    given = {
        "format": "onnx",
        "input_size": (33, 47),
        "output": "classes",
        "check": (Path("a.jpg"), Path("b.jpg")),
        "quantize": "int8",
        "calibrate": (Path("c.jpg"),),
    }
    assert exported == [
        (Path("m.keras"), Path("served"), plain),
        (Path("m.keras"), Path("m.onnx"), given),
    ]


def test_a_failed_proof_ends_in_one_line(exported, monkeypatch, capsys):
    with pytest.raises(SystemExit) as stop:
        run(monkeypatch, "m.keras", "--out", "m.onnx", "--format", "onnx", "--input-size", "1", "1")
    assert stop.value.code == 1
    assert capsys.readouterr().err == "error: onnxruntime 1 computes other logits\n"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ["--format", "compact", "--input-size", "33", "47"],
            "leave out --input-size and --output",
        ),
        (["--format", "litert", "--backend", "tensorflow"], "invalid choice 'tensorflow'"),
        (["--out", "m.png"], "m.png must be named *.safetensors to hold"),
    ],
)
def test_bad_input_is_one_line(model, monkeypatch, capsys, arguments, message):
    out = ["--out", "m.safetensors", "--format", "compact"]
    with pytest.raises(SystemExit) as stop:
        run(monkeypatch, model, *out, *arguments)
    error = capsys.readouterr().err
    assert (stop.value.code, error.count("\n")) == (2, 1)
    assert message in error


@pytest.mark.slow
def test_a_full_disk_ends_in_one_line(model, tmp_path):
    pytest.importorskip("onnx")
    pytest.importorskip("onnxruntime")
    # A limit on the size of files stands for the full disk.
    program = (
        "import resource, fcn_keras_cli\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))\n"
        "fcn_keras_cli.main()"
    )
    out = tmp_path / "m.onnx"
    done = subprocess.run(
        [
            sys.executable,
            "-c",
            program,
            "export",
            str(model),
            "--format",
            "onnx",
            "--out",
            str(out),
        ],
        cwd=ROOT,
        env={**os.environ, "JAX_ENABLE_COMPILATION_CACHE": "false"},
        capture_output=True,
        text=True,
    )
    line = f"error: {out} can't be written (File too large): fix this, then try again\n"
    assert (done.returncode, done.stderr) == (1, line)
    assert not list(tmp_path.iterdir())


@pytest.mark.slow
@pytest.mark.parametrize(("number", "status"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_ended_halfway_it_leaves_nothing(model, tmp_path, number, status):
    pytest.importorskip("onnx")
    pytest.importorskip("onnxruntime")
    program = "from fcn_keras_cli import main; main()"
    arguments = ["export", str(model), "--format", "onnx", "--out", str(tmp_path / "m.onnx")]
    with subprocess.Popen(
        [sys.executable, "-c", program, *arguments], cwd=ROOT, stderr=subprocess.PIPE, text=True
    ) as command:
        deadline = time.monotonic() + 300
        while not list(tmp_path.glob(".m.onnx-*/m.onnx")) and time.monotonic() < deadline:
            assert command.poll() is None, command.stderr.read()
            time.sleep(0.01)
        command.send_signal(number)
        errors = command.communicate(timeout=300)[1]
    assert command.returncode == status
    assert "Traceback" not in errors
    assert not list(tmp_path.iterdir())
