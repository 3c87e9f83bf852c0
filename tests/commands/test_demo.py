"""The page for trying models, in a real browser."""

import contextlib
import importlib.util
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.request

import numpy as np
import pytest
from PIL import Image

from fcn_keras import InputError, Segmenter
from fcn_keras.commands import demo
from fcn_keras.export.proof import PHOTOS

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")


def test_names_the_extra_that_is_missing(monkeypatch):
    find_spec = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name: None if name == "gradio" else find_spec(name)
    )
    with pytest.raises(InputError, match=r"pip install \"fcn-keras\[demo\]\""):
        demo.main(demo.Options())


@pytest.fixture
def model(save_small_model):
    return save_small_model(5)


def test_results_are_deleted_after_an_hour(tmp_path):
    pytest.importorskip("gradio")
    from fcn_keras.commands.demo_page import fresh_file

    first, second = (fresh_file(tmp_path, "classes.png") for _ in range(2))
    first.write_bytes(b"old")
    os.utime(first.parent, (0, 0))
    third = fresh_file(tmp_path, "classes.png")
    assert {path.parent for path in (second, third)} == set(tmp_path.iterdir())


@pytest.fixture
def port(model):
    """Of the page, in a process of its own."""
    pytest.importorskip("gradio")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    program = "from fcn_keras_cli import main; main()"
    command = [sys.executable, "-c", program, "demo", str(model), "--port", str(port)]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as server:
        deadline = time.monotonic() + 120
        while time.monotonic() < deadline and server.poll() is None:
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port)):
                break
            time.sleep(0.2)
        assert server.poll() is None, server.stderr.read()
        yield port
        server.send_signal(signal.SIGINT)
        try:
            _, errors = server.communicate(timeout=60)
        finally:
            server.kill()
    assert "Traceback" not in errors


@pytest.mark.slow
@pytest.mark.parametrize(("megabytes", "status"), [(19, 200), (21, 413)])
def test_uploads_are_at_most_20_megabytes(port, megabytes, status):
    import httpx

    files = {"files": ("photo.png", bytes(megabytes * 2**20))}
    url = f"http://127.0.0.1:{port}/gradio_api/upload"
    assert httpx.post(url, files=files, timeout=60).status_code == status


@pytest.mark.slow
@pytest.mark.skipif(CHROMIUM is None, reason="Chromium is not on this machine")
def test_a_photo_is_uploaded_blended_and_downloaded(model, port, tmp_path):
    playwright = pytest.importorskip("playwright.sync_api")
    with playwright.sync_playwright() as driver:
        chromium = driver.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        use(chromium.new_page(), port, Segmenter(model), tmp_path)
        chromium.close()


def use(page, port, segmenter, folder):
    asked = []
    page.on("request", lambda request: asked.append(request.url))
    page.goto(f"http://127.0.0.1:{port}")
    page.wait_for_selector("text=Opacity")

    photo = PHOTOS[1]
    page.set_input_files("input[type=file]", str(photo))
    page.wait_for_selector("button:has-text('Class ids (PNG)'):not([disabled])", timeout=120_000)
    with page.expect_download() as download:
        page.get_by_role("button", name="Class ids (PNG)").click()
    download.value.save_as(folder / "ids.png")
    np.testing.assert_array_equal(np.array(Image.open(folder / "ids.png")), segmenter(photo))

    assert opacity(page) == pytest.approx(0.6, abs=0.01)
    assert page.locator("img.mask").count() == len(segmenter.segment(photo).shares)
    page.locator("input[type=range]").evaluate(MOVE_TO, 0.2)
    deadline = time.monotonic() + 20
    while opacity(page) > 0.3 and time.monotonic() < deadline:
        page.wait_for_timeout(200)
    assert opacity(page) == pytest.approx(0.2, abs=0.01)
    page.get_by_role("tab", name="Confidence").click()
    page.wait_for_selector("button[aria-label='Download']")
    assert page.locator("button[aria-label='Share']").count() == 0
    assert all(url.startswith((f"http://127.0.0.1:{port}", "data:", "blob:")) for url in asked)


MOVE_TO = """(slider, value) => {
    slider.value = value;
    for (const name of ["input", "change", "pointerup"])
        slider.dispatchEvent(new Event(name, {bubbles: true}));
}"""


def opacity(page):
    """Of the first class, as the browser got it."""
    with urllib.request.urlopen(page.locator("img.mask").first.get_attribute("src")) as file:
        return np.array(Image.open(file))[..., 3].max() / 255
