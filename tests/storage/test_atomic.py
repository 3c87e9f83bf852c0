"""Atomic writing."""

import errno

import pytest

from fcn_keras import InputError
from fcn_keras.storage import SaveError, replacing


@pytest.fixture
def path(tmp_path):
    path = tmp_path / "scores.json"
    path.write_text("older")
    return path


def test_the_new_content_takes_the_old_ones_place(path):
    with replacing(path) as temporary:
        temporary.write_text("newer")
        assert path.read_text() == "older"
    assert path.read_text() == "newer"
    assert list(path.parent.iterdir()) == [path]


def full(temporary):
    temporary.write_text("a part")
    raise OSError(errno.ENOSPC, "No space left on device")


def full_in_hdf5(temporary):
    temporary.write_text("a part")
    raise RuntimeError(
        "Can't decrement id ref count (file write failed: time = Mon,\n"
        "errno = 28, error message = 'No space left on device', buf = 0x5)"
    )


@pytest.mark.parametrize("write", [full, full_in_hdf5])
def test_a_full_disk_is_one_line_with_the_path_and_leaves_the_old_file(path, write):
    with pytest.raises(SaveError) as caught, replacing(path) as temporary:
        write(temporary)
    wanted = f"{path} can't be written (No space left on device): fix this, then try again"
    assert str(caught.value) == wanted
    assert path.read_text() == "older"
    assert list(path.parent.iterdir()) == [path]


def test_a_missing_folder_is_named(tmp_path):
    absent = tmp_path / "no" / "file.txt"
    wanted = r"no/file\.txt can't be written \(No such file"
    with pytest.raises(SaveError, match=wanted), replacing(absent) as temporary:
        temporary.write_text("x")


def test_bad_input_keeps_its_own_message(path):
    with pytest.raises(InputError, match="it is bad"), replacing(path):
        raise InputError("it is bad")
    assert path.read_text() == "older"
