"""The page of docs/browser, in a real browser that can reach nothing else."""

import functools
import http.server
import re
import shutil
import threading
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import fcn_keras
from fcn_keras import describe
from fcn_keras.export import export_model
from fcn_keras.export.proof import PHOTOS

PAGE = Path(__file__).parents[2] / "docs" / "browser"
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
READ_MAP = """() => {
    const {width, height} = document.getElementById("map");
    const context = document.getElementById("map").getContext("2d");
    return {width, height, bytes: Array.from(context.getImageData(0, 0, width, height).data)};
}"""


@pytest.fixture
def folder(tmp_path):
    """The page with its runtime."""
    if not (PAGE / "node_modules" / "onnxruntime-web").is_dir():
        pytest.skip(f"run `npm install --no-save onnxruntime-web` in {PAGE}")
    folder = tmp_path / "page"
    folder.mkdir()
    for name in ("index.html", "segment.js"):
        shutil.copy(PAGE / name, folder)
    (folder / "node_modules").symlink_to(PAGE / "node_modules")
    return folder


@pytest.fixture
def address(folder):
    """Where a server of this machine shows the folder."""
    handler = functools.partial(http.server.SimpleHTTPRequestHandler, directory=folder)
    handler.log_message = lambda *_: None
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/"
        server.shutdown()


@pytest.fixture
def page():
    playwright = pytest.importorskip("playwright.sync_api")
    if CHROMIUM is None:
        pytest.skip("Chromium is not on this machine")
    with playwright.sync_playwright() as driver:
        chromium = driver.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield chromium.new_page()
        chromium.close()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "quantize"), [("small", None), ("small", "float16"), ("voc2012", None)]
)
def test_the_map_is_pythons(model, photo, folder, address, page, name, quantize):
    segmenter = fcn_keras.Segmenter(model if name == "small" else name, bucket=1)
    export_model(
        segmenter.model,
        folder / "model.onnx",
        format="onnx",
        output="classes",
        quantize=quantize,
        check=[photo],
    )
    # A browser scales photos down in its own way, so this one fits.
    picture = folder / "photo.png"
    with Image.open(PHOTOS[1]) as opened:
        opened.thumbnail([describe(segmenter.model).max_side or 640] * 2)
        opened.save(picture)
    asked = []
    page.on("request", lambda request: asked.append(request.url))
    page.goto(address)
    page.wait_for_selector("text=Choose a photo.", timeout=300_000)
    page.set_input_files("#photo", str(picture))
    page.wait_for_selector(r"text=/pixels in [\d.]+ s/", timeout=300_000)

    read = page.evaluate(READ_MAP)
    rgba = np.array(read["bytes"], np.uint8).reshape(read["height"], read["width"], 4)
    assert (rgba[..., 3] == 255).all()
    expected, known = segmenter(picture), segmenter.classes
    painted = np.array(known.colors)[expected]
    assert rgba.shape[:2] == expected.shape
    changed = (rgba[..., :3] != painted).any(axis=-1).mean()
    assert changed <= (0.001 if quantize is None else 0.005)

    legend = dict(
        re.fullmatch(r"(.+) ([\d.]+) %", line).groups()
        for line in page.locator("#legend li").all_inner_texts()
    )
    shares = {name: (expected == label).mean() for label, name in enumerate(known.names)}
    assert legend.keys() == {name for name, share in shares.items() if share}
    for name, share in legend.items():
        assert float(share) == pytest.approx(100 * shares[name], abs=0.6)
    assert asked and all(url.startswith((address, "data:", "blob:")) for url in asked)


@pytest.mark.slow
def test_it_says_what_is_wrong(model, folder, address, page, photo):
    page.goto(address)
    page.wait_for_selector("text=It failed: model.onnx.json is not beside this page")
    export_model(model, folder / "model.onnx", format="onnx", check=[photo])
    page.reload()
    page.wait_for_selector("text=It failed: export the model with --output classes")
