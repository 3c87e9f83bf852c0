import hashlib

import pytest

from fcn_keras import InputError
from fcn_keras.weights.published import check_hash, fetch_weights

CONTENT = b"weights"
NAME = f"vgg16-{hashlib.sha256(CONTENT).hexdigest()[:8]}.pth"


def test_the_name_tells_the_hash(tmp_path):
    (tmp_path / NAME).write_bytes(CONTENT)
    assert check_hash(tmp_path / NAME)
    (tmp_path / NAME).write_bytes(b"changed")
    with pytest.raises(InputError, match=f"has sha256 .*, expected {NAME[6:14]}; delete it"):
        check_hash(tmp_path / NAME)
    (tmp_path / "vgg16.pth").write_bytes(CONTENT)
    assert not check_hash(tmp_path / "vgg16.pth")


def test_fetched_once_into_the_cache_and_verified(file_server, tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    file_server.body = CONTENT
    path = fetch_weights(f"{file_server.url}/{NAME}")
    assert path == tmp_path / "fcn-keras" / NAME
    assert path.read_bytes() == CONTENT
    assert fetch_weights(f"{file_server.url}/{NAME}") == path
    assert file_server.ranges == [None]
    file_server.body = b"other"
    path.unlink()
    with pytest.raises(InputError, match="is not the expected file"):
        fetch_weights(f"{file_server.url}/{NAME}")
