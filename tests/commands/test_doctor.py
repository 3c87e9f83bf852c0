"""The report names what is there, and the self-test fails where a result is wrong."""

import importlib.metadata
import os
import subprocess
import sys
from pathlib import Path

import keras
import pytest

from fcn_keras.commands import doctor, self_test
from fcn_keras.data.shapes import write_shapes

ROOT = Path(__file__).parents[2]


def test_data_sets_are_found_with_their_sizes(tmp_path):
    write_shapes(tmp_path / "VOC2012", train=2, val=1, size=16)
    (tmp_path / "empty").mkdir()
    expected = ("voc2012", f"{tmp_path.resolve()} (2 train, 1 val)")
    assert list(doctor._data_sets_in(tmp_path)) == [expected]
    assert not list(doctor._data_sets_in(tmp_path / "empty"))


def test_packages_are_those_that_the_package_asks_for(monkeypatch):
    versions = {"keras": "3.1", "jaxlib": "0.1", "pytest": "8", "onnx": "1.20"}
    lines = [
        *("keras>=3.12", "Pillow>=11", 'pytest>=8; extra == "test"', 'fcn-keras; extra == "x"'),
        *('onnx>=1.16; extra == "export-onnx"', 'openvino; extra == "openvino"'),
    ]

    def version(name):
        if name not in versions:
            raise importlib.metadata.PackageNotFoundError(name)
        return versions[name]

    monkeypatch.setattr(importlib.metadata, "requires", lambda _: lines)
    monkeypatch.setattr(importlib.metadata, "version", version)
    assert dict(doctor._packages()) == {
        "jaxlib": "0.1", "keras": "3.1", "onnx": "1.20", "pillow": "MISSING",
    }  # fmt: skip


def test_caches_have_their_sizes_and_the_home_folder_is_not_named(monkeypatch, tmp_path, capsys):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(Path, "home", lambda: tmp_path)
    folder = tmp_path / "cache" / "fcn-keras" / "compiled" / "inner"
    folder.mkdir(parents=True)
    (folder / "program").write_bytes(bytes(2_500_000))
    doctor._print_section("caches", doctor._caches())
    assert capsys.readouterr().out == "caches:\n  ~/cache/fcn-keras/compiled: 2.5 MB\n"


def test_a_failed_test_is_named_and_sets_the_status(monkeypatch, capsys):
    def sums():
        raise self_test.Failed("an error of 1")

    monkeypatch.setattr(self_test, "TESTS", {"sums": sums, "nothing": lambda: "all well"})
    for section in ("_installation", "_packages", "_computing", "_caches"):
        monkeypatch.setattr(doctor, section, lambda: [])
    monkeypatch.setattr(sys, "argv", ["doctor"])
    with pytest.raises(SystemExit) as stop:
        doctor.run()
    out, err = capsys.readouterr()
    assert (stop.value.code, err) == (1, "error: the self-test failed: sums\n")
    assert "  sums: FAILED, Failed: an error of 1 (0.0 s)\n  nothing: ok, all well" in out


def test_upsampling_is_compared_with_the_ramp(monkeypatch):
    assert self_test.upsampling().startswith("largest error")
    monkeypatch.setattr(self_test, "Bilinear", keras.initializers.Ones)
    with pytest.raises(self_test.Failed, match="an error of"):
        self_test.upsampling()


@pytest.mark.slow
def test_this_installation_is_well(tmp_path):
    program = "from fcn_keras_cli import main; main()"
    done = subprocess.run(
        [sys.executable, "-c", program, "doctor"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    lines = done.stdout.splitlines()
    results = lines[lines.index("self-test:") + 1 :]
    assert [line.split(", ")[0] for line in results] == [
        f"  {name}: ok" for name in ("upsampling", "convolution", "training", "prediction")
    ]
    assert "  backend: jax" in lines
