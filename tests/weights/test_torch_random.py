"""Checkpoints made up by hypothesis: random opcodes, and random windows on a storage.

Each case is also held to what `conftest.read_watched` says. The quick run has 400 cases,
``-m slow`` 40,000.
"""

import io
import pickle
import struct
import zipfile

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st


def text(name: str) -> bytes:
    return b"X" + struct.pack("<I", len(name)) + name.encode()


GLOBALS = st.sampled_from(
    [
        *(b"torch._utils\n_rebuild_tensor_v2", b"torch._utils\n_rebuild_parameter"),
        *(b"torch._utils\n_rebuild_tensor_v3", b"torch\nuint16", b"torch\nFloatStorage"),
        *(b"torch\nSize", b"collections\nOrderedDict", b"builtins\nset"),
        *(b"builtins\neval", b"posix\nsystem"),
    ]
).map(lambda name: b"c" + name + b"\n")
NUMBERS = st.integers(-(2**70), 2**70).map(lambda n: pickle.dumps(n, 2)[2:-1])
OPCODES = st.one_of(
    st.sampled_from([bytes([c]) for c in b"(0N)]}tes\x85\x86\x87\x88\x89RbQua\x8f\x90\x93\x94"]),
    st.integers(0, 9).map(lambda n: b"h" + bytes([n])),
    st.integers(0, 9).map(lambda n: b"q" + bytes([n])),
    st.sampled_from(["storage", "0", "1", "cpu", "w", "é"]).map(text),
    GLOBALS,
    NUMBERS,
    st.binary(max_size=6),
)
STORAGE = b"(" + text("storage") + b"ctorch\nFloatStorage\n" + text("0") + text("cpu") + b"K\x06tQ"


def fuzz(cases):
    return settings(
        max_examples=cases,
        deadline=None,
        derandomize=True,
        database=None,
        suppress_health_check=list(HealthCheck),
    )


def zipped(pickled: bytes) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        archive.writestr("a/data.pkl", b"\x80\x02" + pickled)
        archive.writestr("a/data/0", np.arange(6, dtype=np.float32).tobytes())
    return out.getvalue()


def check_opcodes(attempt, path, steps):
    content = zipped(b"}" + text("x") + b"".join(steps) + b"s.")
    path.write_bytes(content)
    attempt(path)


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    return tmp_path_factory.mktemp("fuzz") / "a.pth"


STEPS = st.lists(OPCODES, max_size=30)


@fuzz(250)
@given(steps=STEPS)
def test_random_opcodes(attempt, path, steps):
    check_opcodes(attempt, path, steps)


@pytest.mark.slow
@fuzz(1_500)
@given(steps=STEPS)
def test_random_opcodes_at_length(attempt, path, steps):
    check_opcodes(attempt, path, steps)


SMALL = st.one_of(st.integers(0, 7), st.integers(-(2**65), 2**65))
AXES = st.lists(st.tuples(SMALL, SMALL), max_size=4)


def check_tensor(attempt, path, offset, axes):
    """The window is what a loop over the numbers gives, or lies outside and is refused."""
    size, stride = [n for n, _ in axes], [s for _, s in axes]
    window = offset, tuple(size), tuple(stride)
    arguments = b"".join(pickle.dumps(each, 2)[2:-1] for each in window)
    content = zipped(
        b"}" + text("x") + b"ctorch._utils\n_rebuild_tensor\n(" + STORAGE + arguments + b"tRs."
    )
    path.write_bytes(content)
    values = [offset, *size, *stride]
    legal = all(0 <= n < 2**63 for n in values)
    last = offset + sum((n - 1) * s for n, s in axes)
    fits = legal and (0 in size or (last < 6 and np.prod(size, dtype=object) <= 6))
    arrays = attempt(path)
    if 0 not in size:
        assert (arrays is not None) == fits
    if arrays is not None and 0 not in size:
        array = arrays["x"]
        assert array.shape == tuple(size)
        for index in np.ndindex(*size):
            assert array[index] == offset + sum(i * s for i, s in zip(index, stride, strict=True))


@fuzz(150)
@given(offset=SMALL, axes=AXES)
def test_random_windows(attempt, path, offset, axes):
    check_tensor(attempt, path, offset, axes)


@pytest.mark.slow
@fuzz(1_500)
@given(offset=SMALL, axes=AXES)
def test_random_windows_at_length(attempt, path, offset, axes):
    check_tensor(attempt, path, offset, axes)
