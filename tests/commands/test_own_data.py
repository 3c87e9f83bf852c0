"""The walk-through of docs/data.md, done word for word with a few photos and fewer steps."""

import json
import os
import re
import subprocess
import sys
import textwrap
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from fcn_keras.commands import data
from fcn_keras.data import open_dataset
from fcn_keras.data.classes import CAMVID, VOID, VOID_COLOR
from fcn_keras.data.images import read_mask
from fcn_keras.training.log import read_log

ROOT = Path(__file__).parents[2]
COUNT, SIZE = 24, (112, 84)
FIRST = 5  # the number in the first name


def walk_through():
    """The blocks of the section: the class list, then the commands."""
    text = (ROOT / "docs/data.md").read_text()
    section = text.partition("## From your own photos to a trained model")[2].partition(
        "`fcn-keras"
    )
    return [textwrap.dedent(b) for b in re.findall(r"```\n(.*?)\n *```", section[0], re.DOTALL)]


def test_the_walk_through_has_its_parts():
    classes, *commands = walk_through()
    assert classes.splitlines()[2] == "garden shed 200 30 30"
    assert [command.split()[:2] for command in commands] == [
        ["fcn-keras", "data"],
        ["fcn-keras", "train"],
        ["fcn-keras", "predict"],
    ]


@pytest.mark.slow
@pytest.mark.usefixtures("optimized")
def test_the_walk_through_trains_a_model(shared_data, tmp_path):
    classes, *commands = walk_through()
    mydata = tmp_path / "mydata"
    for folder in ("images", "masks"):
        (mydata / folder).mkdir(parents=True)
    (mydata / "classes.txt").write_text(classes)
    colors = np.zeros((256, 3), np.uint8)
    colors[CAMVID.names.index("road")] = (128, 64, 128)
    colors[CAMVID.names.index("building")] = (200, 30, 30)  # the sheds
    colors[VOID] = VOID_COLOR
    source = open_dataset("camvid", shared_data / "CamVid", "train")
    for number, index in enumerate(range(0, len(source), len(source) // COUNT), FIRST):
        image, mask = source[index]
        Image.fromarray(image).resize(SIZE).save(mydata / f"images/IMG_{number:02d}.jpg")
        small = np.asarray(Image.fromarray(mask).resize(SIZE, Image.Resampling.NEAREST))
        Image.fromarray(colors[small]).save(mydata / f"masks/IMG_{number:02d}.png")
        if number == FIRST + COUNT - 1:
            break
    # The script that installing the package makes, over the sources of this checkout.
    script = tmp_path / "bin/fcn-keras"
    script.parent.mkdir()
    script.write_text(
        f"#!{sys.executable}\nfrom fcn_keras_cli import main\n"
        "if __name__ == '__main__':  # worker processes import this\n    main()\n"
    )
    script.chmod(0o755)
    path = os.pathsep.join([str(script.parent), os.environ["PATH"]])
    environment = {**os.environ, "PATH": path, "PYTHONPATH": str(ROOT), "COLUMNS": "200"}
    outputs = []
    for command, shorter in zip(commands, ("", " --max-steps 40", ""), strict=True):
        done = subprocess.run(
            command + shorter,
            shell=True,
            cwd=tmp_path,
            env=environment,
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        outputs.append(done.stdout)
    assert f"samples: {COUNT}, problems: 0" in outputs[0]
    suggested = outputs[0].splitlines()[-1].strip()
    assert commands[1] == f"{suggested} --workdir myrun"
    rows = read_log(tmp_path / "myrun/log.csv")
    assert max(row["mean_iou"] for row in rows) > 0.6  # 0.67 where this was written
    assert rows[-1]["epoch"] == rows[-1]["step"] // (len(open_dataset("folder", mydata)) // 4)
    assert read_mask(tmp_path / "predictions/IMG_07.png", 3).shape == SIZE[::-1]


def test_convert_says_what_it_did_and_how_to_check_it(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    Path("in").mkdir()
    Image.new("RGB", (16, 16)).save("in/a.jpg")
    points = [[1, 1], [9, 1], [9, 9]]
    shapes = [{"label": label, "points": points} for label in ("car", "tree")]
    record = {"imagePath": "a.jpg", "imageHeight": 16, "imageWidth": 16, "shapes": shapes}
    Path("in/a.json").write_text(json.dumps(record))
    Path("list.txt").write_text("car\n")
    command = ["data", "convert", "in", "--from", "labelme", "--out", "my data"]
    monkeypatch.setattr("sys.argv", [*command, "--classes", "list.txt"])
    data.run()
    assert capsys.readouterr().out.splitlines() == [
        "photos: 1, objects: car 1",
        "where objects overlap, the later one is on top",
        "left out, on no line of list.txt: tree 1",
        "To check them:",
        "  python -m experiments.data check --dataset folder --data-dir 'my data'"
        " --picture check.png",
    ]
