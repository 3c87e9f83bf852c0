"""The programs of docs/export.md, run as they stand where nothing of ours can be imported."""

import importlib.util
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import fcn_keras
from fcn_keras.data import read_image
from fcn_keras.export import FORMATS, export_model

PAGE = (Path(__file__).parents[2] / "docs" / "export.md").read_text()
PROGRAMS = dict(re.findall(r"^## ([\w ]+)\n(?:(?!^## ).)*?```python\n(.*?)```", PAGE, re.M | re.S))
FILES = {
    "ONNX Runtime": ("onnx", "model.onnx"),
    "OpenVINO": ("openvino", "model.xml"),
    "LiteRT": ("litert", "model.tflite"),
    "TensorFlow": ("saved-model", "models/fcn/1"),
    "JAX": ("stablehlo", "model.stablehlo"),
}
ALONE = "import sys\nsys.modules['fcn_keras'] = sys.modules['keras'] = None\n"
KEEP = "\nnp.save('classes.npy', classes)\n"


def test_every_format_is_documented():
    assert PROGRAMS.keys() >= FILES.keys()
    for name in FORMATS:
        assert f"| `{name}` |" in PAGE


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("heading", FILES)
def test_it_segments_a_photo(model, photo, tmp_path, heading):
    name, file = FILES[heading]
    for package in FORMATS[name].packages:
        if importlib.util.find_spec(package) is None:
            pytest.skip(f"{package} is not installed")
    size = (37, 53) if name == "litert" else None
    export_model(model, tmp_path / file, format=name, input_size=size, check=[photo])
    Image.open(photo).save(tmp_path / "photo.jpg")
    program = ALONE + PROGRAMS[heading] + KEEP
    subprocess.run([sys.executable, "-P", "-c", program], cwd=tmp_path, check=True)
    classes = np.load(tmp_path / "classes.npy")
    expected = fcn_keras.Segmenter(model, bucket=1)(read_image(tmp_path / "photo.jpg"))
    assert classes.shape == expected.shape
    # OpenVINO takes bfloat16 where the CPU has it.
    assert (classes != expected).mean() < (0.05 if name == "openvino" else 0.002)
