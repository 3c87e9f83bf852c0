import hashlib
import io
import tarfile
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from fcn_keras.data import archives
from fcn_keras.data.download import download, unpack, verify
from fcn_keras.errors import InputError

BODY = bytes(range(256)) * 12000  # about 3 MB, several chunks
MD5 = hashlib.md5(BODY).hexdigest()
SHA256 = hashlib.sha256(BODY).hexdigest()


class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        server = self.server
        wanted = self.headers.get("Range")
        server.ranges.append(wanted)
        if self.path == "/missing":
            self.send_error(404)
            return
        start = int(wanted.removeprefix("bytes=").rstrip("-")) if wanted and server.resumes else 0
        if start >= len(server.body):
            self.send_error(416)
            return
        self.send_response(206 if start else 200)
        self.send_header("Content-Length", str(len(server.body) - start))
        if start:
            self.send_header("Content-Range", f"bytes {start}-{len(server.body) - 1}/*")
        self.end_headers()
        self.wfile.write(server.body[start : server.stop_at])

    def log_message(self, *args):
        pass


@pytest.fixture
def server():
    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        server.body, server.resumes, server.stop_at, server.ranges = BODY, True, None, []
        server.url = f"http://127.0.0.1:{server.server_port}"
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def test_fetches_the_bytes_and_tells_progress(server, tmp_path):
    seen = []
    path = download(
        f"{server.url}/file",
        tmp_path / "deep" / "file",
        md5=MD5,
        sha256=SHA256.upper(),
        progress=lambda done, total: seen.append((done, total)),
    )
    assert path.read_bytes() == BODY
    assert seen[-1] == (len(BODY), len(BODY))
    assert [done for done, _ in seen] == sorted({done for done, _ in seen})
    assert [p.name for p in path.parent.iterdir()] == ["file"]


def test_keeps_a_file_that_is_there_and_right(server, tmp_path):
    path = tmp_path / "file"
    path.write_bytes(BODY)
    download(f"{server.url}/file", path, md5=MD5)
    assert server.ranges == []
    path.write_bytes(b"other")
    with pytest.raises(InputError, match=f"expected {MD5}; delete it to fetch it again"):
        download(f"{server.url}/file", path, md5=MD5)


@pytest.mark.parametrize("resumes", [True, False])
def test_goes_on_after_a_broken_connection(server, tmp_path, resumes):
    server.resumes = resumes
    server.stop_at = 1_000_000
    with pytest.raises(InputError, match=f"broke off after 1000000 of {len(BODY)} bytes; try aga"):
        download(f"{server.url}/file", tmp_path / "file", md5=MD5)
    assert not (tmp_path / "file").exists()
    server.stop_at = None
    path = download(f"{server.url}/file", tmp_path / "file", md5=MD5)
    assert path.read_bytes() == BODY
    assert server.ranges == [None, "bytes=1000000-"]


def test_a_whole_part_needs_nothing_more(server, tmp_path):
    (tmp_path / "file.part").write_bytes(BODY)
    assert download(f"{server.url}/file", tmp_path / "file", md5=MD5).read_bytes() == BODY


def test_without_a_checksum_it_starts_over(server, tmp_path):
    (tmp_path / "file.part").write_bytes(b"who knows what")
    assert download(f"{server.url}/file", tmp_path / "file").read_bytes() == BODY
    assert server.ranges == [None]


def test_refuses_other_bytes_and_forgets_them(server, tmp_path):
    (tmp_path / "file.part").write_bytes(b"stale")
    with pytest.raises(InputError, match="its checksum differs"):
        download(f"{server.url}/file", tmp_path / "file", md5=MD5)
    assert list(tmp_path.iterdir()) == []


def test_names_the_address_that_fails(server, tmp_path):
    with pytest.raises(
        InputError, match=r"can't fetch http://127.0.0.1:\d+/missing: HTTP Error 404"
    ):
        download(f"{server.url}/missing", tmp_path / "file")
    with pytest.raises(InputError, match="can't fetch nonsense: unknown url type"):
        download("nonsense", tmp_path / "file")


def test_verify_compares_every_digest(tmp_path):
    (tmp_path / "file").write_bytes(BODY)
    verify(tmp_path / "file", md5=MD5, sha256=SHA256)
    with pytest.raises(InputError, match="has sha256"):
        verify(tmp_path / "file", md5=MD5, sha256=SHA256[::-1])


def tar_bytes(*entries: tuple[str, bytes | None], link: str | None = None) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as tar:
        for name, content in entries:
            info = tarfile.TarInfo(name)
            if link is not None:
                info.type, info.linkname = tarfile.SYMTYPE, link
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    return buffer.getvalue()


def test_unpacks_into_the_folder(tmp_path):
    (tmp_path / "a.tgz").write_bytes(tar_bytes(("top/in/x", b"1"), ("y", b"2")))
    placed = unpack(tmp_path / "a.tgz", tmp_path / "to")
    assert [p.name for p in placed] == ["top", "y"]
    assert (tmp_path / "to/top/in/x").read_bytes() == b"1"
    assert sorted(p.name for p in (tmp_path / "to").iterdir()) == ["top", "y"]
    with pytest.raises(InputError, match="top exists already"):
        unpack(tmp_path / "a.tgz", tmp_path / "to")


@pytest.mark.parametrize(
    "content",
    [
        tar_bytes(("ok", b"1"), ("../escaped", b"2")),
        tar_bytes(("link", b""), link="../../outside"),
        tar_bytes(("ok", b"1" * 5000))[:60],
        b"no archive",
    ],
    ids=["path", "link", "truncated", "garbage"],
)
def test_a_bad_archive_leaves_nothing(tmp_path, content):
    (tmp_path / "a.tgz").write_bytes(content)
    with pytest.raises(InputError, match=r"a\.tgz can't be unpacked"):
        unpack(tmp_path / "a.tgz", tmp_path / "to")
    assert [p.name for p in tmp_path.iterdir() if p.name != "a.tgz"] == ["to"]
    assert list((tmp_path / "to").iterdir()) == []


def test_fetch_downloads_unpacks_and_is_idempotent(server, tmp_path, monkeypatch):
    server.body = tar_bytes(("VOCdevkit/VOC2012/JPEGImages/a.jpg", b"photo"))
    digest = hashlib.md5(server.body).hexdigest()
    archive = archives.Archive(f"{server.url}/voc.tar", digest, "VOCdevkit/VOC2012")
    monkeypatch.setitem(archives.ARCHIVES, "voc2012", archive)
    folder = archives.fetch("voc2012", tmp_path)
    assert (folder / "JPEGImages/a.jpg").read_bytes() == b"photo"
    assert archives.fetch("voc2012", tmp_path) == folder
    assert len(server.ranges) == 1
    with pytest.raises(InputError, match="choose from voc2012, sbd"):
        archives.fetch("coco", tmp_path)
