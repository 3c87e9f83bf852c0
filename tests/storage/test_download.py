"""Downloads from a server on this machine that breaks off, ignores ranges or sends other bytes."""

import hashlib

import pytest

from fcn_keras import InputError
from fcn_keras.storage import cache_folder, download, verify

BODY = bytes(range(256)) * 12000  # about 3 MB, several chunks
MD5 = hashlib.md5(BODY).hexdigest()
SHA256 = hashlib.sha256(BODY).hexdigest()


@pytest.fixture
def server(file_server):
    file_server.body = BODY
    return file_server


@pytest.mark.parametrize("sized", [True, False])
def test_fetches_the_bytes_and_tells_progress(server, tmp_path, sized):
    server.sized = sized
    seen = []
    path = download(
        f"{server.url}/file",
        tmp_path / "deep" / "file",
        md5=MD5,
        sha256=SHA256.upper(),
        progress=lambda done, total: seen.append((done, total)),
    )
    assert path.read_bytes() == BODY
    assert seen[-1] == (len(BODY), len(BODY) if sized else None)
    assert [done for done, _ in seen] == sorted({done for done, _ in seen})
    assert [p.name for p in path.parent.iterdir()] == ["file"]


@pytest.mark.parametrize("size", ["abc", "-5", "1e9"])
def test_a_size_that_is_no_number_is_no_size(server, tmp_path, size):
    server.sized = size
    assert download(f"{server.url}/file", tmp_path / "file", md5=MD5).read_bytes() == BODY


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


@pytest.mark.parametrize("length", [1000, len(BODY), len(BODY) + 1])
def test_a_part_of_another_file_is_replaced(server, tmp_path, length):
    (tmp_path / "file.part").write_bytes(b"x" * length)
    assert download(f"{server.url}/file", tmp_path / "file", md5=MD5).read_bytes() == BODY
    assert server.ranges == [f"bytes={length}-", None]
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_refuses_other_bytes_and_forgets_them(server, tmp_path):
    server.body = BODY[::-1]
    with pytest.raises(InputError, match="its checksum differs"):
        download(f"{server.url}/file", tmp_path / "file", md5=MD5)
    assert list(tmp_path.iterdir()) == []


def test_names_the_address_that_fails(server, tmp_path):
    with pytest.raises(
        InputError, match=r"can't fetch http://127.0.0.1:\d+/missing: HTTP Error 404"
    ):
        download(f"{server.url}/missing", tmp_path / "file")
    with pytest.raises(InputError, match="nonsense is not an http"):
        download("nonsense", tmp_path / "file")


def test_verify_compares_every_digest(tmp_path):
    (tmp_path / "file").write_bytes(BODY)
    verify(tmp_path / "file", md5=MD5, sha256=SHA256)
    verify(tmp_path / "file", sha256=SHA256[:8])
    with pytest.raises(InputError, match="has sha256"):
        verify(tmp_path / "file", md5=MD5, sha256=SHA256[::-1])


def test_the_cache_follows_xdg(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert cache_folder() == tmp_path / "fcn-keras"
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert cache_folder() == tmp_path / ".cache" / "fcn-keras"
