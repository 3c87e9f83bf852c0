import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

import fcn_keras
from fcn_keras import InputError, pretrained
from fcn_keras.commands import photos, predict
from fcn_keras.commands.photos import Item
from fcn_keras.data.classes import VOC
from fcn_keras.saving import ModelInfo, annotate
from fcn_keras.storage import locked

# Keras copies its variables in a way that NumPy 2 wants spelled differently.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation doesn't accept a copy")


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    """Answers class 15, person, everywhere."""
    path = tmp_path_factory.mktemp("model") / "person.keras"
    model = fcn_keras.fcn8s(21, backbone_width=4, head_width=8)
    model.get_layer("score_fr").bias.assign(np.eye(21)[15])
    annotate(model, ModelInfo(classes=VOC))
    model.save(path)
    return path


def photo(path, height=30, width=41):
    path.parent.mkdir(exist_ok=True, parents=True)
    Image.fromarray(np.full((height, width, 3), 100, np.uint8)).save(path)
    return path


def run(monkeypatch, *arguments):
    monkeypatch.setattr(sys, "argv", ["predict", *map(str, arguments)])
    predict.run()


def error(monkeypatch, capsys, *arguments, status=2):
    with pytest.raises(SystemExit) as stop:
        run(monkeypatch, *arguments)
    assert stop.value.code == status
    return capsys.readouterr().err.splitlines()[-1]


def files(folder):
    return sorted(str(p.relative_to(folder)) for p in folder.rglob("*") if p.is_file())


def pixels(path):
    with Image.open(path) as picture:
        return np.asarray(picture)


def test_photos_and_folders_become_masks_and_overlays(model, tmp_path, monkeypatch):
    photo(tmp_path / "folder" / "one.jpg")
    photo(tmp_path / "folder" / "deep" / "two.png", 1, 7)
    photo(tmp_path / "folder" / ".hidden" / "not.png")
    single = photo(tmp_path / "three.JPG", 64, 33)
    photo(tmp_path / "more" / "four_x.png")
    photo(tmp_path / "more" / "five_y.png")
    out = tmp_path / "folder" / "out"  # inside, and not taken for photos by the second run
    for _ in range(2):
        run(
            monkeypatch,
            model,
            tmp_path / "folder",
            single,
            tmp_path / "more" / "*_x.*",
            "--out",
            out,
        )
        assert files(out) == [
            "deep/two.png", "deep/two_overlay.jpg", "four_x.png", "four_x_overlay.jpg", "one.png",
            "one_overlay.jpg", "three.png", "three_overlay.jpg",
        ]  # fmt: skip
    assert pixels(out / "deep/two.png").shape == (1, 7)
    assert pixels(out / "deep/two_overlay.jpg").shape == (1, 7, 3)
    with Image.open(out / "three.png") as ids:
        assert ids.mode == "P"
        assert (np.asarray(ids) == 15).all()
        assert ids.convert("RGB").getpixel((0, 0)) == VOC.colors[15]
    # 0.6 * 100 + 0.4 * (192, 128, 128), to within what JPEG keeps
    blend = pixels(out / "one_overlay.jpg")[9, 9]
    np.testing.assert_allclose(blend, (137, 111, 111), atol=2)


def test_photos_that_would_be_overwritten_are_refused(model, tmp_path, monkeypatch, capsys):
    first, second = photo(tmp_path / "a" / "one.png"), photo(tmp_path / "b" / "one.jpg")
    message = error(monkeypatch, capsys, model, first, "--out", tmp_path / "a")
    assert (
        message
        == f"error: --out {tmp_path / 'a'} is the folder of image one.png: name another folder"
    )
    message = error(monkeypatch, capsys, model, first, second, "--out", tmp_path / "out")
    assert message.startswith(f"error: images {first} and {second} would both become one.png")
    assert not (tmp_path / "out").exists()


def test_bad_input_ends_in_one_line(model, tmp_path, monkeypatch, capsys):
    (tmp_path / "empty").mkdir()
    message = error(monkeypatch, capsys, model, tmp_path / "empty", "--out", tmp_path / "out")
    assert "empty has no photos" in message
    message = error(monkeypatch, capsys, model, tmp_path / "*.nothing", "--out", tmp_path / "out")
    assert "matches no photos" in message
    assert "no image is given" in error(monkeypatch, capsys, model, "--out", tmp_path / "out")
    image = photo(tmp_path / "one.png")
    wrong = error(monkeypatch, capsys, tmp_path / "no.keras", image, "--out", tmp_path / "out")
    assert "no.keras is not a file" in wrong
    wrong = error(monkeypatch, capsys, model, image, "--shard", "9/8", "--out", tmp_path / "out")
    assert wrong == "error: --shard 9/8 is not possible: 3/8 is the third of eight shares"
    assert not (tmp_path / "out").exists()


def test_a_folder_that_another_process_fills_is_refused(model, tmp_path, monkeypatch, capsys):
    arguments = (model, photo(tmp_path / "one.png"), "--out", tmp_path / "out")
    with locked(tmp_path / "out", "--out"):
        line = error(monkeypatch, capsys, *arguments)
        assert line.startswith(f"error: --out {tmp_path / 'out'} is in use by process")
        run(monkeypatch, *arguments, "--shard", "1/1")
    assert files(tmp_path / "out") == ["one.png", "one_overlay.jpg"]


def test_photos_that_cannot_be_read_are_named_at_the_end(model, tmp_path, monkeypatch, capsys):
    folder = tmp_path / "folder"
    photo(folder / "good.png")
    (folder / "bad.jpg").write_bytes(b"no picture")
    photo(folder / "zebra.png")
    absent = tmp_path / "absent.jpg"
    last = error(monkeypatch, capsys, model, folder, absent, "--out", tmp_path / "out", status=1)
    assert last == "error: 2 of 4 could not be segmented"
    with pytest.raises(SystemExit):
        run(monkeypatch, model, folder, absent, "--out", tmp_path / "out")
    lines = capsys.readouterr().err.splitlines()
    assert lines[-3].startswith(f"error: image {folder / 'bad.jpg'} can't be read")
    assert lines[-2].startswith(f"error: image {absent} does not exist")
    assert files(tmp_path / "out") == [
        "good.png", "good_overlay.jpg", "zebra.png", "zebra_overlay.jpg"
    ]  # fmt: skip


def test_a_second_run_does_what_is_left(model, tmp_path, monkeypatch, capsys):
    folder, out = tmp_path / "folder", tmp_path / "out"
    photo(folder / "a.png")
    photo(folder / "b.png")
    run(monkeypatch, model, folder, "--out", out)
    first = {name: (out / name).stat().st_mtime_ns for name in files(out)}
    (out / "b_overlay.jpg").unlink()
    capsys.readouterr()
    run(monkeypatch, model, folder, "--out", out)
    assert "1 were finished before; --overwrite redoes them" in capsys.readouterr().out
    second = {name: (out / name).stat().st_mtime_ns for name in files(out)}
    assert {name for name in first if first[name] == second[name]} == {"a.png", "a_overlay.jpg"}
    later = time.time() + 5
    os.utime(folder / "b.png", (later, later))  # edited since
    run(monkeypatch, model, folder, "--out", out)
    third = {name: (out / name).stat().st_mtime_ns for name in files(out)}
    assert {name for name in first if second[name] == third[name]} == {"a.png", "a_overlay.jpg"}
    run(monkeypatch, model, folder, "--out", out, "--overwrite")
    assert all((out / name).stat().st_mtime_ns != third[name] for name in third)


def test_shares_of_the_list_make_up_the_whole(model, tmp_path, monkeypatch):
    for name in "abcde":
        photo(tmp_path / "folder" / f"{name}.png")
    for number in (1, 2):
        run(
            monkeypatch,
            model,
            tmp_path / "folder",
            "--out",
            tmp_path / "out",
            "--shard",
            f"{number}/2",
        )
        assert len(files(tmp_path / "out")) == (6, 10)[number - 1]


@pytest.mark.slow
def test_other_formats(model, tmp_path, monkeypatch):
    image = photo(tmp_path / "one.png")
    options = ("--panel", "--probabilities", "--submission", tmp_path / "voc")
    run(monkeypatch, model, image, "--out", tmp_path / "out", "--format", "json", *options)
    found = json.loads((tmp_path / "out" / "one.json").read_text())
    assert found == {"width": 41, "height": 30, "shares": {"person": 1.0}}
    probabilities = np.load(tmp_path / "out" / "one_probabilities.npy")
    assert (probabilities.shape, probabilities.dtype) == ((30, 41, 21), np.float16)
    expected = fcn_keras.Segmenter(model).probabilities(image)
    np.testing.assert_allclose(probabilities, expected, atol=1e-3)
    panel = pixels(tmp_path / "out" / "one_panel.jpg")
    assert panel.shape[1] > 2 * 41
    np.testing.assert_allclose(panel[9, 41 + 9], (137, 111, 111), atol=4)
    ids = pixels(tmp_path / "voc/results/VOC2012/Segmentation/comp6_test_cls/one.png")
    assert (ids == 15).all()
    run(monkeypatch, model, image, "--out", tmp_path / "out", "--format", "npy")
    assert (np.load(tmp_path / "out" / "one.npy") == 15).all()


def test_annotations_in_cocos_format(model, tmp_path, monkeypatch):
    photo(tmp_path / "folder" / "a.png")
    photo(tmp_path / "folder" / "b.png", 20, 10)
    run(monkeypatch, model, tmp_path / "folder", "--out", tmp_path / "out", "--format", "coco")
    found = json.loads((tmp_path / "out" / "annotations.json").read_text())
    assert [image["file_name"] for image in found["images"]] == ["a.png", "b.png"]
    assert found["categories"][15] == {"id": 15, "name": "person"}
    second = found["annotations"][1]
    assert (second["image_id"], second["category_id"], second["area"]) == (2, 15, 200)
    assert second["segmentation"] == {"size": [20, 10], "counts": [0, 200]}


def test_addresses_are_fetched(model, tmp_path, monkeypatch, file_server):
    file_server.body = photo(tmp_path / "some.png").read_bytes()
    url = f"{file_server.url}/photos/my%20cat.png?size=big"
    run(monkeypatch, model, url, "--out", tmp_path / "out")
    assert files(tmp_path / "out") == ["my cat.png", "my cat_overlay.jpg"]


@pytest.mark.slow
def test_a_video_becomes_one_with_colours(model, tmp_path, monkeypatch, capsys):
    path = tmp_path / "clip.mp4"
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"mp4v"), 10, (64, 48))
    for _ in range(5):
        writer.write(np.full((48, 64, 3), 100, np.uint8))
    writer.release()
    (tmp_path / "bad.mp4").write_bytes(b"no video")
    out = tmp_path / "out"
    last = error(monkeypatch, capsys, model, path, tmp_path / "bad.mp4", "--out", out, status=1)
    assert last == "error: 1 of 2 could not be segmented"
    assert files(out) == ["clip_overlay.mp4"]
    video = cv2.VideoCapture(str(out / "clip_overlay.mp4"))
    assert (video.get(cv2.CAP_PROP_FRAME_COUNT), video.get(cv2.CAP_PROP_FPS)) == (5, 10)
    _, frame = video.read()
    video.release()
    # 0.6 * 100 + 0.4 * (192, 128, 128), in OpenCV's order
    np.testing.assert_allclose(frame[20, 20], (111, 111, 137), atol=6)


def test_the_model_may_be_left_out(model, tmp_path, monkeypatch):
    photo(tmp_path / "one.png")
    with pytest.raises(InputError, match="no trained fcn8s ships with"):
        monkeypatch.setattr(pretrained, "FOLDER", tmp_path)
        predict.split_model(["one.png"])
    fcn_keras.saving.save_compact(
        fcn_keras.load_model(model), tmp_path / "voc2012-fcn8s.safetensors"
    )
    assert predict.split_model(["one.png"]) == (tmp_path / "voc2012-fcn8s.safetensors", ["one.png"])
    monkeypatch.chdir(tmp_path)
    run(monkeypatch, "one.png")
    assert files(tmp_path / "predictions") == ["one.png", "one_overlay.jpg"]


@pytest.mark.slow
def test_classes_come_from_the_model_or_the_file(model, tmp_path, monkeypatch, capsys):
    unnamed = fcn_keras.fcn8s(2, backbone_width=4, head_width=8)
    unnamed.save(tmp_path / "unnamed.keras")
    image = photo(tmp_path / "one.png")
    run(monkeypatch, tmp_path / "unnamed.keras", image, "--out", tmp_path / "out")
    assert "doesn't know the names of its classes" in capsys.readouterr().out
    (tmp_path / "classes.txt").write_text("sky 1 2 3\nsea 4 5 6\n")
    options = ("--classes", tmp_path / "classes.txt", "--format", "json", "--out", tmp_path / "out")
    run(monkeypatch, tmp_path / "unnamed.keras", image, *options)
    assert json.loads((tmp_path / "out" / "one.json").read_text())["shares"] == {"sky": 1.0}
    message = error(monkeypatch, capsys, model, image, *options)
    assert "has 2 classes, but model fcn8s has 21" in message


def test_names_of_results(tmp_path):
    folder = tmp_path / "photos"
    photo(folder / "a" / "one.two.png")
    assert photos.find([str(folder)], tmp_path / "out") == [
        Item(folder / "a" / "one.two.png", Path("a/one.two"))
    ]


@pytest.mark.slow
def test_an_interruption_leaves_whole_files(model, tmp_path):
    for number in range(400):
        photo(tmp_path / "folder" / f"{number:03}.png", 300, 300)
    out = tmp_path / "out"
    command = [
        sys.executable,
        "-m",
        "experiments.predict",
        model,
        tmp_path / "folder",
        "--out",
        out,
    ]
    process = subprocess.Popen(
        list(map(str, command)), stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True
    )
    while len(list(out.glob("*.jpg"))) < 3:
        assert process.poll() is None
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 130
    assert errors.splitlines()[-1] == "Stopped."
    written = files(out)
    assert 6 <= len(written) < 800
    assert not any(name.startswith(".") for name in written)
    for name in written:
        assert pixels(out / name).shape[:2] == (300, 300)


@pytest.mark.slow
def test_a_second_start_finds_the_programs(save_small_model, tmp_path):
    path = tmp_path / "photo.png"
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (90, 120, 3), np.uint8)).save(path)
    model = save_small_model(5)
    environment = {k: v for k, v in os.environ.items() if not k.startswith("JAX_COMPILATION")}
    environment["XDG_CACHE_HOME"] = str(tmp_path / "cache")
    kept = tmp_path / "cache" / "fcn-keras" / "compiled"

    def start():
        """The result, the compiled programs, and when each traced one was last used."""
        command = [
            sys.executable,
            "-m",
            "experiments.predict",
            model,
            path,
            "--out",
            tmp_path / "out",
        ]
        command += ["--probabilities", "--overwrite"]
        subprocess.run(list(map(str, command)), env=environment, check=True, capture_output=True)
        result = np.load(tmp_path / "out" / "photo_probabilities.npy")
        # Small programs are kept or not by how long they took to compile.
        compiled = sorted(kept.glob("jit_step*-cache"))
        traced = {path: path.stat().st_mtime_ns for path in (kept / "traced").iterdir()}
        return result, compiled, traced

    (result, compiled, made), (again, found, used) = start(), start()
    assert compiled == found != []
    assert len(made) == 2  # classes and probabilities
    assert made.keys() == used.keys()
    assert all(used[path] > made[path] for path in made)
    np.testing.assert_array_equal(result, again)
