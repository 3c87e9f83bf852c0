import dataclasses
import json
import sys

import numpy as np
import pytest
from PIL import Image

import fcn_keras
from fcn_keras import viz
from fcn_keras.commands import evaluate
from fcn_keras.data.classes import SHAPES
from fcn_keras.evaluation import evaluator
from fcn_keras.inference.padding import pad

# Keras copies its variables in a way that NumPy 2 wants spelled differently.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation doesn't accept a copy")


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    """Answers class 2 everywhere."""
    path = tmp_path_factory.mktemp("model") / "two.keras"
    model = fcn_keras.fcn8s(6, backbone_width=4, head_width=8)
    model.get_layer("score_fr").bias.assign([0, 0, 9, 0, 0, 0])
    model.save(path)
    return path


@pytest.fixture
def folder(tmp_path):
    """Two images of different sizes: a quarter of the pixels is class 2, a quarter void."""
    for name in ("images", "masks"):
        (tmp_path / name).mkdir()
    (tmp_path / "classes.txt").write_text("\n".join(SHAPES.names))
    for name, size in (("a", (40, 60)), ("b", (64, 32))):
        mask = np.zeros(size, np.uint8)
        mask[: size[0] // 2, : size[1] // 2] = 2
        mask[size[0] // 2 :, size[1] // 2 :] = 255
        Image.fromarray(np.full((*size, 3), 90, np.uint8)).save(tmp_path / "images" / f"{name}.png")
        viz.save_mask(tmp_path / "masks" / f"{name}.png", mask, SHAPES)
    (tmp_path / "val.txt").write_text("a\nb\n")
    return tmp_path


def run(monkeypatch, *arguments):
    monkeypatch.setattr(sys, "argv", ["evaluate", *map(str, arguments)])
    evaluate.run()


def test_the_table_and_the_json_hold_the_scores(model, folder, tmp_path, monkeypatch, capsys):
    data = ("--dataset", "folder", "--data-dir", folder)
    run(monkeypatch, model, *data, "--json", tmp_path / "scores.json", "--bucket", "64")
    content = json.loads((tmp_path / "scores.json").read_text())
    assert content["images"] == 2
    assert content["pixel_accuracy"] == pytest.approx(1 / 3)
    # Class 0: half of the pixels, never predicted. Class 2: a third of the union.
    assert content["mean_iou"] == pytest.approx((0 + 1 / 3) / 2)
    assert content["iou"]["square"] == pytest.approx(1 / 3)
    assert content["iou"]["circle"] is None
    output = capsys.readouterr().out
    assert "square" in output
    assert "33.33" in output


def test_a_model_of_other_class_names_is_scored_with_a_warning(model, folder, monkeypatch, capsys):
    trained = fcn_keras.load_model(model)
    other = dataclasses.replace(SHAPES, name="[other]", names=tuple("abcdef"))
    fcn_keras.annotate(trained, fcn_keras.ModelInfo(classes=other))
    trained.save(folder / "other.keras")
    data = ("--dataset", "folder", "--data-dir", folder, "--bucket", "64")
    run(monkeypatch, folder / "other.keras", *data)
    output = " ".join(capsys.readouterr().out.split())
    assert "trained on the classes of [other], which aren't those of folder" in output


def test_another_data_set_ends_in_one_line(model, folder, monkeypatch, capsys):
    (folder / "classes.txt").write_text("sky\nsea\nsand\n")
    with pytest.raises(SystemExit) as stop:
        run(monkeypatch, model, "--dataset", "folder", "--data-dir", folder)
    assert stop.value.code == 2
    lines = capsys.readouterr().err.splitlines()
    assert lines[-1].startswith("error: ")
    assert "6 classes, but the data set" in lines[-1]


def test_the_size_and_the_averaged_views_are_options(model, folder, tmp_path, monkeypatch):
    views = ("--resize", "48", "--flip", "--scales", "0.75", "1.25", "--bucket", "1")
    data = ("--dataset", "folder", "--data-dir", folder, "--json", tmp_path / "scores.json")
    run(monkeypatch, model, *data, *views)
    content = json.loads((tmp_path / "scores.json").read_text())
    assert content["pixel_accuracy"] == pytest.approx(1 / 3)


def test_the_model_may_see_images_smaller_than_they_are(model, folder, tmp_path, monkeypatch):
    seen = []
    monkeypatch.setattr(
        evaluator, "pad", lambda array, *_: seen.append(array.shape[:2]) or pad(array, *_)
    )
    data = ("--dataset", "folder", "--data-dir", folder, "--json", tmp_path / "scores.json")
    run(monkeypatch, model, *data, "--max-side", "30", "--bucket", "16")
    assert sorted(seen) == [(20, 30), (30, 15)]
    content = json.loads((tmp_path / "scores.json").read_text())
    assert content["pixel_accuracy"] == pytest.approx(1 / 3)


@pytest.mark.slow
def test_two_models_are_compared_in_a_report(model, folder, tmp_path, monkeypatch, capsys):
    fcn_keras.load_model(model).save(tmp_path / "copy.keras")
    options = ("--json", tmp_path / "scores.json", "--report", tmp_path / "report")
    data = ("--dataset", "folder", "--data-dir", folder, "--bucket", "64")
    run(monkeypatch, model, tmp_path / "copy.keras", *data, *options)
    contents = json.loads((tmp_path / "scores.json").read_text())
    assert [content["model"] for content in contents] == [str(model), f"{tmp_path}/copy.keras"]
    assert contents[0]["iou"] == contents[1]["iou"]
    assert f"wrote {tmp_path}/report/index.html" in capsys.readouterr().out
    page = (tmp_path / "report/index.html").read_text()
    assert "two and copy on folder val, 2 images" in page
    assert f"<td>{100 * contents[0]['mean_iou']:.2f}</td>" in page


def test_no_model_ends_in_one_line(monkeypatch, capsys):
    with pytest.raises(SystemExit) as stop:
        run(monkeypatch, "--dataset", "shapes")
    assert stop.value.code == 2
    assert capsys.readouterr().err == "error: no model to score; name a .keras file\n"
