"""Fixtures that every room's tests share."""

import os
import random
import sys

os.environ.setdefault("KERAS_BACKEND", "jax")
os.environ.setdefault("NO_ALBUMENTATIONS_UPDATE", "1")
# Hundreds of programs run once, on little data. Without XLA's optimiser they compile in half the
# time, and round otherwise. With 0 in this variable they are compiled as users' are.
os.environ.setdefault("JAX_DISABLE_MOST_OPTIMIZATIONS", "1")

import tempfile
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import jax
import numpy as np
import pytest

# Many tests, and the processes they start, compile the same small programs.
_CACHE = tempfile.TemporaryDirectory(prefix="fcn-keras-jit-")
os.environ.setdefault("JAX_COMPILATION_CACHE_DIR", _CACHE.name)
os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0.1")

SHARED = Path(__file__).parents[2] / "shared"


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup():
    random.seed(
        0
    )  # from which Keras draws the seeds of initial values, for this test's fixtures too
    if traced := sys.modules.get("fcn_keras.cpu.traced"):
        traced.keep_in(None)  # a command may have run in this process


@pytest.fixture
def optimized(monkeypatch):
    """With XLA's optimiser, in processes that the test starts too: for tests that compute much."""
    monkeypatch.setenv("JAX_DISABLE_MOST_OPTIMIZATIONS", "0")
    before = jax.config.values["jax_disable_most_optimizations"]
    jax.config.update("jax_disable_most_optimizations", False)
    yield
    jax.config.update("jax_disable_most_optimizations", before)


def _existing(path: Path) -> Path:
    if not path.exists():
        pytest.skip(f"{path} is not on this machine")
    return path


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder that holds VOC2012/ and CamVid/ (``FCN_KERAS_DATA`` names another one)."""
    return _existing(Path(os.environ.get("FCN_KERAS_DATA", SHARED / "data")))


@pytest.fixture(scope="session")
def shared_weights() -> Path:
    """torchvision's VGG16 convolutions, in torch's legacy file format."""
    return _existing(SHARED / "weights" / "vgg16-torchvision-features.pth")


class _Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        server = self.server
        wanted = self.headers.get("Range")
        server.ranges.append(wanted)
        if self.path == "/missing":
            return self.send_error(404)
        start = int(wanted.removeprefix("bytes=").rstrip("-")) if wanted and server.resumes else 0
        if start >= len(server.body):
            return self.send_error(416)
        self.send_response(206 if start else 200)
        if server.sized:
            size = len(server.body) - start if server.sized is True else server.sized
            self.send_header("Content-Length", str(size))
        if start:
            self.send_header("Content-Range", f"bytes {start}-{len(server.body) - 1}/*")
        self.end_headers()
        self.wfile.write(server.body[start : server.stop_at])

    def log_message(self, *args):
        pass


@pytest.fixture
def file_server():
    """A server on this machine that sends its `body`; `stop_at` breaks off, `resumes` = False
    ignores ranges, `sized` is False to keep the size back, or another size to claim. `ranges`
    gathers what was asked."""
    with ThreadingHTTPServer(("127.0.0.1", 0), _Handler) as server:
        server.body, server.ranges = b"", []
        server.resumes, server.sized, server.stop_at = True, True, None
        server.url = f"http://127.0.0.1:{server.server_port}"
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield server
        server.shutdown()
        thread.join()


@pytest.fixture
def save_small_model(tmp_path):
    """``save(classes) -> path``: a narrow FCN-8s whose random scores find all its classes."""

    def save(classes: int) -> Path:
        import fcn_keras

        model = fcn_keras.fcn8s(classes, backbone_width=4, head_width=8)
        random = np.random.default_rng(1)
        for name in ("score_fr", "score_pool4", "score_pool3"):
            for variable in model.get_layer(name).weights:
                variable.assign(random.normal(size=variable.shape))
        model.save(tmp_path / "best.keras")
        return tmp_path / "best.keras"

    return save
