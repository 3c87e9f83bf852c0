import numpy as np
import pytest
from PIL import Image

import fcn_keras
from experiments.study import formats, throughput, tiling
from fcn_keras import export
from tests.parity.conversion import randomize


def test_windows_cover_an_image_and_are_averaged():
    assert tiling._starts(512) == tiling._starts(300) == [0]
    assert tiling._starts(600) == [0, 88]
    assert tiling._starts(1024) == [0, 341, 512]
    image = np.random.default_rng(0).integers(0, 256, (600, 512, 3), np.uint8)
    np.testing.assert_allclose(tiling.windows(lambda images: images, image), image)
    calls = []
    run = lambda images: np.full((*images.shape[:3], 1), calls.append(0) or len(calls))  # noqa: E731
    found = tiling.windows(run, image)[:, 0, 0]
    assert list(found[[0, 87, 88, 511, 512, 599]]) == [1, 1, 1.5, 1.5, 2, 2]


def test_what_cannot_be_exported_is_a_row(tmp_path, monkeypatch):
    def refuse(model, path, **_):
        raise export.ExportError("too far")

    monkeypatch.setattr(export, "export_model", refuse)
    options = formats.Options(model=tmp_path / "none.keras", out=tmp_path)
    rows = list(formats.files(options))
    extern = [kind for kind in export.FORMATS.values() if kind.extern]
    assert len(rows) == sum(1 + len(kind.precisions) for kind in extern)
    assert all(row == {"error": "too far"} for _, _, row in rows)


@pytest.mark.slow
def test_formats_are_exported_once_and_timed(tmp_path, monkeypatch, capsys):
    only = {"stablehlo": export.FORMATS["stablehlo"]}
    monkeypatch.setattr(export, "FORMATS", only)
    file = tmp_path / "model.keras"
    fcn_keras.fcn8s(3, backbone_width=2, head_width=4).save(file)
    options = formats.Options(model=file, out=tmp_path, size=64, repeats=1)
    formats.main(options)
    written = {path: path.stat().st_mtime_ns for path in tmp_path.iterdir()}
    assert tmp_path / "stablehlo-float32.stablehlo" in written
    formats.main(options)
    assert {path: path.stat().st_mtime_ns for path in tmp_path.iterdir()} == written
    printed = capsys.readouterr().out
    for name in ("ours float32", "ours bfloat16", "stablehlo-float32"):
        assert name in printed


@pytest.mark.slow
def test_tiles_change_nothing_and_windows_do(tmp_path):
    file = tmp_path / "model.keras"
    randomize(fcn_keras.fcn8s(5, backbone_width=4, head_width=8)).save(file)
    found = tiling.compare(str(file), 1100, 960)
    assert found["tiles differ"] < 1e-5 and found["tiles change"] == "0.00%"
    assert found["windows differ"] > 1e-3


@pytest.mark.slow
def test_the_loop_writes_what_predict_writes(tmp_path, monkeypatch, capsys):
    for index in range(3):
        Image.new("RGB", (40 + index, 30), (9, 99, 199)).save(tmp_path / f"{index}.png")
    file = tmp_path / "model.keras"
    fcn_keras.fcn8s(3, backbone_width=2, head_width=4).save(file)
    written = {}

    class Kept:
        def __enter__(self):
            return tmp_path / "out"

        def __exit__(self, *_):
            for way in ("predict", "loop"):
                written[way] = {path.name for path in (tmp_path / "out" / way).iterdir()}

    monkeypatch.setattr(throughput.tempfile, "TemporaryDirectory", Kept)
    (tmp_path / "out").mkdir()
    throughput.main(throughput.Options(words=(str(tmp_path),), model=str(file), turn=2))
    assert written["predict"] == written["loop"]
    assert written["loop"] == {f"{i}{end}" for i in range(3) for end in (".png", "_overlay.jpg")}
    printed = capsys.readouterr().out
    assert "of 2 turns" in printed and "1 programs compiled" in printed
