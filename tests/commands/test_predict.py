import os
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

import fcn_keras
from fcn_keras.commands import predict
from fcn_keras.data.classes import CAMVID, VOC

# Keras copies its variables in a way that NumPy 2 wants spelled differently.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation doesn't accept a copy")


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    """Answers class 15, person, everywhere."""
    path = tmp_path_factory.mktemp("model") / "person.keras"
    model = fcn_keras.fcn8s(21, backbone_width=4, head_width=8)
    model.get_layer("score_fr").bias.assign(np.eye(21)[15])
    model.save(path)
    return path


def photo(path, height=30, width=41):
    path.parent.mkdir(exist_ok=True)
    Image.fromarray(np.full((height, width, 3), 100, np.uint8)).save(path)
    return path


def run(monkeypatch, *arguments):
    monkeypatch.setattr(sys, "argv", ["predict", *map(str, arguments)])
    predict.run()


def error(monkeypatch, capsys, *arguments):
    with pytest.raises(SystemExit) as stop:
        run(monkeypatch, *arguments)
    assert stop.value.code == 2
    return capsys.readouterr().err.splitlines()[-1]


def test_photos_and_folders_become_masks_and_overlays(model, tmp_path, monkeypatch):
    photo(tmp_path / "folder" / "one.jpg")
    photo(tmp_path / "folder" / "two.png", 1, 7)
    single = photo(tmp_path / "three.JPG", 64, 33)
    run(monkeypatch, model, tmp_path / "folder", single, "--out", tmp_path / "out")
    results = {path.name: Image.open(path) for path in (tmp_path / "out").iterdir()}
    for picture in results.values():
        picture.load()
    assert sorted(results) == [
        "one.png", "one_overlay.jpg", "three.png", "three_overlay.jpg", "two.png", "two_overlay.jpg"
    ]  # fmt: skip
    assert results["two.png"].size == results["two_overlay.jpg"].size == (7, 1)
    assert results["three.png"].mode == "P"
    assert (np.array(results["three.png"]) == 15).all()
    assert results["one.png"].convert("RGB").getpixel((0, 0)) == VOC.colors[15]
    # 0.6 * 100 + 0.4 * (192, 128, 128), to within what JPEG keeps
    np.testing.assert_allclose(results["one_overlay.jpg"].getpixel((9, 9)), (137, 111, 111), atol=2)


def test_photos_that_would_be_overwritten_are_refused(model, tmp_path, monkeypatch, capsys):
    first, second = photo(tmp_path / "a" / "one.png"), photo(tmp_path / "b" / "one.jpg")
    message = error(monkeypatch, capsys, model, first, "--out", tmp_path / "a")
    assert (
        message == f"error: --out {tmp_path / 'a'} is the folder of image one.png: name another one"
    )
    message = error(monkeypatch, capsys, model, first, second, "--out", tmp_path / "out")
    assert message.startswith(f"error: images {first} and {second} would both become one.png")
    assert not (tmp_path / "out").exists()


def test_bad_input_ends_in_one_line(model, tmp_path, monkeypatch, capsys):
    (tmp_path / "empty").mkdir()
    message = error(monkeypatch, capsys, model, tmp_path / "empty", "--out", tmp_path / "out")
    assert "empty holds no photos" in message
    assert "no image is named" in error(monkeypatch, capsys, model, "--out", tmp_path / "out")
    absent = tmp_path / "absent.jpg"
    assert f"image {absent}" in error(monkeypatch, capsys, model, absent, "--out", tmp_path / "out")
    image = photo(tmp_path / "one.png")
    wrong = error(monkeypatch, capsys, tmp_path / "no.keras", image, "--out", tmp_path / "out")
    assert "no.keras is not a file" in wrong


def test_colors_follow_the_class_count_or_the_file(tmp_path):
    assert predict.class_table(11, None) is CAMVID
    assert predict.class_table(3, None).colors == ((0, 0, 0), (128, 0, 0), (0, 128, 0))
    (tmp_path / "classes.txt").write_text("sky 1 2 3\nsea 4 5 6\n")
    assert predict.class_table(2, tmp_path / "classes.txt").colors == ((1, 2, 3), (4, 5, 6))
    with pytest.raises(fcn_keras.InputError, match="has 2 classes, but the model has 3"):
        predict.class_table(3, tmp_path / "classes.txt")


@pytest.mark.slow
def test_a_second_start_finds_the_compiled_programs(model, tmp_path):
    path = photo(tmp_path / "photos" / "a.jpg")
    environment = {k: v for k, v in os.environ.items() if not k.startswith("JAX_COMPILATION")}
    environment["XDG_CACHE_HOME"] = str(tmp_path / "cache")

    def programs():
        command = [sys.executable, "-m", "experiments.predict", model, path, "--out", tmp_path]
        subprocess.run(list(map(str, command)), env=environment, check=True, capture_output=True)
        # Small programs are kept or not by how long they took to compile.
        return sorted((tmp_path / "cache" / "fcn-keras" / "compiled").glob("jit_step*-cache"))

    first = programs()
    assert first
    assert programs() == first
