"""Hand-made, damaged and hostile checkpoints: refused with a reason, and nothing executed."""

import os
import pickle
import re
import struct
import time
import zipfile

import numpy as np
import pytest

from fcn_keras import InputError
from fcn_keras.weights import read_torch

LEGACY_HEAD = [0x1950A86A20F9469CFC6C, 1001, {"little_endian": True}]


def write_legacy(path, content, keys=(), head=LEGACY_HEAD, tail=b""):
    path.write_bytes(b"".join(pickle.dumps(x, 2) for x in [*head, content, list(keys)]) + tail)
    return path


def write_zip(path, pickled: bytes, **entries):
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("a/data.pkl", pickled)
        for name, body in entries.items():
            archive.writestr(f"a/{name}", body)
    return path


class Call:
    """Pickles to a call of `function`."""

    def __init__(self, function, *arguments):
        self.call = (function, arguments)

    def __reduce__(self):
        return self.call


@pytest.mark.parametrize("protocol", [2, 4])
@pytest.mark.parametrize("packed", ["zip", "legacy"])
@pytest.mark.parametrize(
    ("function", "argument", "named"),
    [
        (os.system, "touch {path}", "(posix|nt).system"),
        (eval, "open({path!r}, 'w')", "builtins.eval"),
        (exec, "open({path!r}, 'w')", "builtins.exec"),
        (open, "{path}", "(io|_io).open"),
        (getattr, "{path}", "builtins.getattr"),
    ],
)
def test_nothing_is_executed(tmp_path, protocol, packed, function, argument, named):
    witness = tmp_path / "executed"
    content = {"x": Call(function, argument.format(path=str(witness)))}
    path = tmp_path / "evil.pth"
    if packed == "zip":
        write_zip(path, pickle.dumps(content, protocol))
    else:
        head = b"".join(pickle.dumps(x, 2) for x in LEGACY_HEAD)
        path.write_bytes(head + pickle.dumps(content, protocol))
    with pytest.raises(InputError, match=f"asks for {named}"):
        read_torch(path)
    assert not witness.exists()


PID = b"(X\x07\x00\x00\x00storagectorch\nFloatStorage\nX\x01\x00\x00\x000X\x03\x00\x00\x00cpu"


def tensor_pickle(length: bytes, offset: bytes, size: bytes, stride: bytes) -> bytes:
    """A state dict of one tensor "x", in hand-written opcodes."""
    build = b"ctorch._utils\n_rebuild_tensor\n(" + PID + length + b"tQ" + offset + size + stride
    return b"\x80\x02}X\x01\x00\x00\x00x" + build + b"tRs."


ONE, TWO, NINE = b"K\x01", b"K\x02", b"K\x09"
HUGE = b"\x8a\x08" + (2**62).to_bytes(8, "little")
GIANT = b"\x8a\x09" + (2**66).to_bytes(9, "little")
MINUS = b"J\xff\xff\xff\xff"


def test_hand_written_opcodes_make_a_tensor(tmp_path):
    pickled = tensor_pickle(TWO, ONE, ONE + b"\x85", ONE + b"\x85")
    path = write_zip(tmp_path / "a.pth", pickled, **{"data/0": struct.pack("<2f", 3, 4)})
    np.testing.assert_array_equal(read_torch(path)["x"], [4.0])


@pytest.mark.parametrize(
    ("length", "offset", "size", "stride", "message"),
    [
        (HUGE, ONE, ONE, ONE, "has 8 bytes, but its tensors need 18446744073709551616"),
        (GIANT, ONE, ONE, ONE, "damaged pickle: BINPERSID"),
        (NINE, ONE, ONE, ONE, "has 8 bytes, but its tensors need 36"),
        (TWO, NINE, ONE, ONE, "doesn't fit in its storage of 2 numbers"),
        (TWO, HUGE, ONE, ONE, "doesn't fit in its storage"),
        (TWO, MINUS, ONE, ONE, "damaged pickle: REDUCE"),
        (TWO, b"K\x00", HUGE, ONE, "doesn't fit in its storage"),
        (TWO, b"K\x00", HUGE, b"K\x00", "doesn't fit in its storage"),
        (TWO, b"K\x00", TWO, HUGE, "doesn't fit in its storage"),
        (TWO, ONE, TWO, MINUS, "damaged pickle: REDUCE"),
        (TWO, ONE, MINUS, ONE, "damaged pickle: REDUCE"),
        (TWO, ONE, GIANT, ONE, "damaged pickle: REDUCE"),
    ],
)
def test_absurd_tensors_are_refused(tmp_path, length, offset, size, stride, message):
    pickled = tensor_pickle(length, offset, size + b"\x85", stride + b"\x85")
    path = write_zip(tmp_path / "a.pth", pickled, **{"data/0": bytes(8)})
    with pytest.raises(InputError, match=message):
        read_torch(path)


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b"]" * 200_000 + b"a" * 199_999 + b".", "holds a list"),
        (b")" + b"\x85" * 300_000 + b".", "holds a tuple"),
        (b"})" + b"\x85" * 300_000 + b"K\x01s.", "damaged pickle: SETITEM"),
        (b"]" * 1_000_001 + b".", "more than 1,000,000 opcodes"),
        (b"(" * 300_000 + b"N.", "holds a nonetype"),
        (b"X\xff\xff\xff\xffabc", "damaged pickle: BINUNICODE"),
        (b"\x8b\xff\xff\xff\x7fabc", "damaged pickle: LONG4"),
        (b"Nr\xff\xff\xff\xff}.", "holds no tensors"),
        (b"i", "opcode INST at byte 2"),
        (b"c\\u\nname\n.", r"asks for \\\\u.name, but"),
        (b"cos\nsys", "damaged pickle: GLOBAL"),
        (b"cos\nsystem\n(S'true'\ntR.", "asks for os.system"),
        (b"\x8c\x02os\x8c\x06system\x93.", "asks for os.system"),
        (b"K\x05\x82.", "opcode EXT1"),
        (b"\xfe", "opcode 0xfe"),
        (b"t.", "damaged pickle: TUPLE"),
        (b"", "ends early"),
        (b".", "damaged pickle: STOP"),
        (b"}]b.", "holds no tensors"),
        (
            b"]q\x00(" + b"N" * 30_000 + b"e" + b"cbuiltins\nset\nh\x00\x85R" * 40 + b".",
            "builds more than 1,000,000 items",
        ),
        (b"ccollections\nOrderedDict\n]]a\x85R.", "damaged pickle: REDUCE"),
        (b"ccollections\nOrderedDict\nX\x02\x00\x00\x00ab\x85R.", "damaged pickle: REDUCE"),
        (b"ctorch\nSize\n}\x85R.", "damaged pickle: REDUCE"),
        (b"ctorch\nSize\nX\x02\x00\x00\x00ab\x85R.", "damaged pickle: REDUCE"),
        (b"cbuiltins\nset\n}\x85R.", "damaged pickle: REDUCE"),
        (
            b"X" + struct.pack("<I", 10**6) + b"a" * 10**6 + b"q\x00ctorch\nSize\nh\x00\x85R.",
            "damaged pickle: REDUCE",
        ),
    ],
)
def test_hostile_pickles_are_refused(tmp_path, body, message):
    path = write_zip(tmp_path / "a.pth", b"\x80\x02" + body)
    with pytest.raises(InputError, match=message) as caught:
        read_torch(path)
    assert str(caught.value).startswith(f"{path}: ")
    assert "\n" not in str(caught.value)


def test_damaged_legacy_heads_are_refused(tmp_path):
    path = tmp_path / "a.pth"
    magic, version, platform = LEGACY_HEAD
    for head, message in [
        ([magic + 1, version, platform], "is a pickle, but not a torch checkpoint"),
        ([magic, 1000, platform], "version 1000 of the legacy format"),
        ([magic, version, {"little_endian": False}], "not marked little-endian"),
        ([magic, version, []], "not marked little-endian"),
    ]:
        with pytest.raises(InputError, match=message):
            read_torch(write_legacy(path, {}, head=head))
    with pytest.raises(InputError, match="lists other storages"):
        read_torch(write_legacy(path, {}, keys=["0"]))


def doubled(depth: int) -> bytes:
    """A list that holds another one twice, and so on: written out it has 2**depth items."""
    level = b"".join(b"]" + b"q%c" % i + b"(h%ch%ce" % (i - 1, i - 1) for i in range(1, depth))
    return b"]q\x00" + level


@pytest.mark.parametrize("position", [1, 4])
@pytest.mark.parametrize(
    "value", [doubled(200), b"]" * 50_000 + b"a" * 49_999, b"]K\x00a", b"]Na", b"})K\x01s"]
)
def test_no_container_is_written_out(tmp_path, position, value):
    """In place of the version, or of the storages' keys."""
    pickles = [pickle.dumps(each, 2) for each in [*LEGACY_HEAD, {}, []]]
    pickles[position] = b"\x80\x02" + value + b"."
    path = tmp_path / "a.pth"
    path.write_bytes(b"".join(pickles))
    started = time.process_time()
    message = "version unknown of the legacy|lists other storages|damaged pickle"
    with pytest.raises(InputError, match=message) as caught:
        read_torch(path)
    assert time.process_time() - started < 5 and len(str(caught.value)) < 300


@pytest.mark.parametrize(
    ("length", "tail", "message"),
    [
        (2, struct.pack("<q1f", 2, 1), "is cut off: storage '0' ends at byte"),
        (2, struct.pack("<q2f", 3, 1, 2), "another length than its tensors say"),
        (2**40, struct.pack("<q", 2**40), "is cut off"),
        (2, b"", "another length"),
    ],
)
def test_legacy_storages_are_held_against_the_file(tmp_path, length, tail, message):
    size = b"\x8a\x08" + length.to_bytes(8, "little")
    body = tensor_pickle(size, b"K\x00", ONE + b"\x85", ONE + b"\x85")
    # The legacy persistent id ends with a view, here none.
    body = body.replace(size + b"tQ", size + b"NtQ")
    head = b"".join(pickle.dumps(x, 2) for x in LEGACY_HEAD)
    path = tmp_path / "a.pth"
    path.write_bytes(head + body + pickle.dumps(["0"], 2) + tail)
    with pytest.raises(InputError, match=message):
        read_torch(path)


def test_damaged_zips_are_refused(tmp_path):
    path = tmp_path / "a.pth"
    pickled = tensor_pickle(TWO, ONE, ONE + b"\x85", ONE + b"\x85")
    whole = write_zip(path, pickled, **{"data/0": bytes(8), "byteorder": b"little"}).read_bytes()

    def refuse(content, message):
        path.write_bytes(content)
        with pytest.raises(InputError, match=message):
            read_torch(path)

    refuse(whole[:-30], "damaged zip")
    refuse(whole[:4], "damaged zip")
    start = whole.index(b"a/data/0") + 8
    refuse(whole[:start] + b"\x01" + whole[start + 1 :], "doesn't have its checksum")
    refuse(write_zip(path, pickled).read_bytes(), "storage '0' is missing")
    refuse(write_zip(path, pickled, byteorder=b"big").read_bytes(), "not marked little-endian")
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a/data.pkl", bytes(10_000))
    refuse(path.read_bytes(), "claim more bytes|is compressed")
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("config.json", b"{}")
    refuse(path.read_bytes(), r"without data\.pkl")


def test_other_files_are_refused(tmp_path):
    path = tmp_path / "a.pth"
    for content, message in [
        (b"", "is empty"),
        (b"\x80", "damaged pickle: PROTO"),
        (bytes(257) + b"ustar" + bytes(250), "tar format"),
        (b"<html>not found</html>", "is not a torch checkpoint"),
    ]:
        path.write_bytes(content)
        with pytest.raises(InputError, match=re.escape(str(path)) + ".*" + message):
            read_torch(path)
    with pytest.raises(InputError, match="doesn't exist"):
        read_torch(tmp_path / "absent.pth")
    with pytest.raises(InputError, match="is not a file"):
        read_torch(tmp_path)
