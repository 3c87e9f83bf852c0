"""The programs of docs/downstream.md, each in a process of its own."""

import os
import re
import shutil
import subprocess
import sys
import urllib.error
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

import fcn_keras
from fcn_keras.export.proof import PHOTOS

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs" / "downstream.md").read_text()
PROGRAMS = dict(
    zip(
        ["keras", "torch", "fit", "parts", "service", "ray"],
        re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL),
        strict=True,
    )
)
pytestmark = pytest.mark.slow


@pytest.fixture
def folder(save_small_model, tmp_path):
    save_small_model(4)
    shutil.copy(PHOTOS[1], tmp_path / "photo.jpg")
    return tmp_path


def environment(**more):
    kept = {name: value for name, value in os.environ.items() if name != "KERAS_BACKEND"}
    return kept | {"PYTHONPATH": str(ROOT)} | more


def run(program, folder, **more):
    (folder / "program.py").write_text(program)
    done = subprocess.run(
        [sys.executable, "program.py"],
        cwd=folder,
        env=environment(**more),
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_keras_alone(folder):
    assert run(PROGRAMS["keras"], folder) == "(1, 300, 451)\n"


@pytest.mark.parametrize("backend", ["torch", "tensorflow"])
def test_another_backend_finds_the_same(folder, backend):
    pytest.importorskip(backend)
    expected = fcn_keras.Segmenter(folder / "best.keras").segment(folder / "photo.jpg")
    found = run(PROGRAMS["torch"].replace('"torch"', f'"{backend}"'), folder)
    assert found == f"{expected}\n"


def test_own_classes_are_learned(folder):
    first, last = eval(run(PROGRAMS["fit"], folder))
    assert first == pytest.approx(np.log(3), rel=0.1) and last < first
    assert fcn_keras.load_model(folder / "own.keras").output_shape == (None, None, None, 3)


def test_parts(folder):
    assert run(PROGRAMS["parts"], folder) == "(1, 4, 6, 32)\n(1, 4)\n"


def test_eight_clients_of_the_service(folder):
    pytest.importorskip("fastapi")
    pytest.importorskip("uvicorn")
    (folder / "service.py").write_text(PROGRAMS["service"])
    serve = "import uvicorn; uvicorn.run('service:app', port=0)"
    with subprocess.Popen(
        [sys.executable, "-c", serve],
        cwd=folder,
        env=environment(),
        stderr=subprocess.PIPE,
        text=True,
    ) as server:
        try:
            address = next(
                found[0] for line in server.stderr if (found := re.findall(r"http://\S+:\d+", line))
            )

            def post(content):
                return urllib.request.urlopen(f"{address}/segment", content, timeout=120).read()

            photo = (folder / "photo.jpg").read_bytes()
            with ThreadPoolExecutor(8) as clients:
                pictures = list(clients.map(post, [photo] * 16))
            assert pictures[0].startswith(b"\x89PNG") and len(set(pictures)) == 1
            with pytest.raises(urllib.error.HTTPError, match="422"):
                post(b"no picture")
        finally:
            server.terminate()


def test_two_workers_of_ray(folder):
    pytest.importorskip("ray")
    expected = fcn_keras.Segmenter(folder / "best.keras").segment(folder / "photo.jpg").shares
    rows = eval(run(PROGRAMS["ray"], folder, RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO="0"))
    assert len(rows) == 4
    assert {row["shares"] for row in rows} == {str(expected)}
