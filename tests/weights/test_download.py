"""Downloads from a server on this machine that breaks off, ignores ranges or sends other bytes."""

import hashlib
import http.server
import threading

import numpy as np
import pytest

from fcn_keras import InputError
from fcn_keras.weights.download import cache_folder, check_hash, download

CONTENT = np.random.default_rng(0).bytes(3_000_000)
NAME = f"vgg16-{hashlib.sha256(CONTENT).hexdigest()[:8]}.pth"


class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        server = self.server
        asked = self.headers.get("Range")
        server.requests.append(asked)
        start = int(asked.removeprefix("bytes=").removesuffix("-")) if asked else 0
        if server.status:
            return self.send_error(server.status)
        if server.ranges and start >= len(CONTENT):
            return self.send_error(416)
        if not server.ranges:
            start = 0
        self.send_response(206 if start else 200)
        if server.sized:
            self.send_header("Content-Length", str(len(CONTENT) - start))
        if start:
            self.send_header("Content-Range", f"bytes {start}-{len(CONTENT) - 1}/{len(CONTENT)}")
        self.end_headers()
        self.wfile.write(server.content[start : server.breaks.pop() if server.breaks else None])

    def log_message(self, *arguments):
        pass


@pytest.fixture
def server():
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        server.requests, server.breaks = [], []
        server.ranges, server.sized, server.status, server.content = True, True, None, CONTENT
        server.url = f"http://127.0.0.1:{server.server_port}/{NAME}"
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def files(folder):
    return sorted(path.name for path in folder.iterdir())


@pytest.mark.parametrize("sized", [True, False])
def test_a_whole_file_is_fetched_once(server, tmp_path, sized):
    server.sized = sized
    seen = []
    path = download(server.url, tmp_path / "cache", lambda n, total: seen.append((n, total)))
    assert path == tmp_path / "cache" / NAME
    assert path.read_bytes() == CONTENT
    assert seen[-1] == (3_000_000, 3_000_000 if sized else None)
    assert download(server.url, tmp_path / "cache") == path
    assert server.requests == [None]
    assert files(path.parent) == [NAME]


def break_off(server, folder, at):
    server.breaks = [at]
    with pytest.raises(InputError, match=f"ended after {at} of 3000000 bytes; run it again"):
        download(server.url, folder)
    assert files(folder) == [f"{NAME}.part"]


def test_a_broken_transfer_continues_where_it_ended(server, tmp_path):
    break_off(server, tmp_path, 1_234_567)
    seen = []
    path = download(server.url, tmp_path, lambda n, total: seen.append((n, total)))
    assert path.read_bytes() == CONTENT
    assert server.requests == [None, "bytes=1234567-"]
    assert seen[0][0] > 1_234_567
    assert seen[-1] == (3_000_000, 3_000_000)


def test_a_server_without_ranges_starts_again(server, tmp_path):
    break_off(server, tmp_path, 1_234_567)
    server.ranges = False
    assert download(server.url, tmp_path).read_bytes() == CONTENT


@pytest.mark.parametrize("length", [1000, 3_000_000, 3_000_001])
def test_a_part_of_another_file_is_replaced(server, tmp_path, length):
    (tmp_path / f"{NAME}.part").write_bytes(bytes(length))
    assert download(server.url, tmp_path).read_bytes() == CONTENT
    assert server.requests == [f"bytes={length}-", None]
    assert files(tmp_path) == [NAME]


def test_a_wrong_hash_leaves_nothing(server, tmp_path):
    server.content = CONTENT[::-1]
    with pytest.raises(InputError, match=f"the SHA-256 of what it sent is .*, not {NAME[6:14]}"):
        download(server.url, tmp_path)
    assert files(tmp_path) == []


def test_a_changed_file_in_the_cache_is_refused(server, tmp_path):
    (tmp_path / NAME).write_bytes(b"changed")
    with pytest.raises(InputError, match="its SHA-256 begins with"):
        download(server.url, tmp_path)


def test_a_refusal_and_a_missing_server_are_told(server, tmp_path):
    server.status = 404
    with pytest.raises(InputError, match="answers 404 Not Found"):
        download(server.url, tmp_path)
    with pytest.raises(InputError, match="no http"):
        download("file:///etc/passwd", tmp_path)
    server.shutdown()
    server.server_close()
    with pytest.raises(InputError, match=r"refused.* after 0 bytes; run it again"):
        download(server.url, tmp_path)


def test_check_hash(tmp_path):
    (tmp_path / NAME).write_bytes(CONTENT)
    assert check_hash(tmp_path / NAME)
    (tmp_path / "vgg16.pth").write_bytes(CONTENT)
    assert not check_hash(tmp_path / "vgg16.pth")


def test_the_cache_follows_xdg(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert cache_folder() == tmp_path / "fcn-keras"
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert cache_folder() == tmp_path / ".cache" / "fcn-keras"
