import sys

import pytest

import fcn_keras.export
from fcn_keras.commands import export

# Keras copies its variables in a way that NumPy 2 wants spelled differently.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation doesn't accept a copy")


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    path = tmp_path_factory.mktemp("model") / "model.keras"
    fcn_keras.fcn8s(6, backbone_width=4, head_width=8).save(path)
    return path


@pytest.fixture
def exported(monkeypatch):
    """Stands for the library's export, which tests/test_export.py runs: records the call."""
    calls = []

    def record(model, directory, *, input_size):
        calls.append((model.name, directory, input_size))
        if input_size == (1, 1):
            raise RuntimeError("the SavedModel's logits differ by 2.0e-03")
        return 3e-7

    monkeypatch.setattr(fcn_keras.export, "export_saved_model", record)
    return calls


def run(monkeypatch, *arguments):
    monkeypatch.setattr(sys, "argv", ["export", *map(str, arguments)])
    export.run()


def test_the_difference_is_printed(model, tmp_path, exported, monkeypatch, capsys):
    run(monkeypatch, model, "--out", tmp_path / "served")
    run(monkeypatch, model, "--out", tmp_path / "served", "--input-size", "33", "47")
    assert exported == [
        ("fcn8s", tmp_path / "served", None),
        ("fcn8s", tmp_path / "served", (33, 47)),
    ]
    output = capsys.readouterr().out
    assert "3.0e-07 of the logits' range" in output
    assert "(any batch, 33, 47, 3)" in output


def test_too_large_a_difference_fails(model, tmp_path, exported, monkeypatch, capsys):
    with pytest.raises(SystemExit) as stop:
        run(monkeypatch, model, "--out", tmp_path / "served", "--input-size", "1", "1")
    assert stop.value.code == 1
    assert capsys.readouterr().err.splitlines()[-1].startswith("error: the SavedModel's logits")


def test_a_compact_file_takes_no_input_size(model, tmp_path, monkeypatch, capsys):
    out = tmp_path / "model.safetensors"
    run(monkeypatch, model, "--out", out, "--format", "compact")
    assert fcn_keras.load_model(out).count_params() == fcn_keras.load_model(model).count_params()
    out.unlink()
    with pytest.raises(SystemExit):
        run(monkeypatch, model, "--out", out, "--format", "compact", "--input-size", "33", "47")
    assert "error: --input-size is for a SavedModel" in capsys.readouterr().err
    assert not out.exists()
