import hashlib
import io
import tarfile

import pytest

from fcn_keras.data import archives
from fcn_keras.data.archives import unpack
from fcn_keras.errors import InputError
from fcn_keras.storage import locked


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
        tar_bytes(("link", b""), link="ok"),
        tar_bytes(("d/" * 1500 + "x", b"1")),
        tar_bytes(("ok", b"1" * 5000))[:60],
        b"no archive",
    ],
    ids=["path", "link", "inner link", "deep", "truncated", "garbage"],
)
def test_a_bad_archive_leaves_nothing(tmp_path, content):
    (tmp_path / "a.tgz").write_bytes(content)
    with pytest.raises(InputError, match=r"a\.tgz can't be unpacked"):
        unpack(tmp_path / "a.tgz", tmp_path / "to")
    assert [p.name for p in tmp_path.iterdir()] == ["a.tgz"]


def test_what_a_killed_process_left_is_removed(tmp_path):
    (tmp_path / "a.tgz").write_bytes(tar_bytes(("y", b"2")))
    (tmp_path / "to/.unpack-abc/half").mkdir(parents=True)
    unpack(tmp_path / "a.tgz", tmp_path / "to")
    assert [p.name for p in (tmp_path / "to").iterdir()] == ["y"]


def test_two_processes_do_not_unpack_into_one_folder(tmp_path):
    (tmp_path / "a.tgz").write_bytes(tar_bytes(("y", b"2")))
    with locked(tmp_path / "to", "folder"), pytest.raises(InputError, match="to is in use by"):
        unpack(tmp_path / "a.tgz", tmp_path / "to")


def test_fetch_downloads_unpacks_and_is_idempotent(file_server, tmp_path, monkeypatch):
    file_server.body = tar_bytes(("VOCdevkit/VOC2012/JPEGImages/a.jpg", b"photo"))
    digest = hashlib.md5(file_server.body).hexdigest()
    archive = archives.Archive(f"{file_server.url}/voc.tar", digest, "VOCdevkit/VOC2012")
    monkeypatch.setitem(archives.ARCHIVES, "voc2012", archive)
    folder = archives.fetch("voc2012", tmp_path)
    assert (folder / "JPEGImages/a.jpg").read_bytes() == b"photo"
    assert archives.fetch("voc2012", tmp_path) == folder
    assert len(file_server.ranges) == 1
    with pytest.raises(InputError, match="choose from voc2012, sbd"):
        archives.fetch("coco", tmp_path)
