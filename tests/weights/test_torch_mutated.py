"""Checkpoints by torch, damaged by the thousand: a valid result or an InputError, nothing else.

Each case is also held to what `conftest.read_watched` says. The quick run has 1,300 cases;
``-m slow`` has 60,000 on small files, 20,000 in the real file's pickles and all its lengths.
"""

import io
import random
import shutil
import zipfile
from collections import OrderedDict

import pytest


def mutated(content: bytes, dice: random.Random) -> bytes:
    """One or two flips, cuts, copies or extreme numbers."""
    content = bytearray(content)
    for _ in range(dice.randint(1, 2)):
        at = dice.randrange(len(content) or 1)
        kind = dice.randrange(7)
        if kind == 0:
            content[at : at + 1] = bytes([dice.randrange(256)])
        elif kind == 1 and content:
            content[at % len(content)] ^= 1 << dice.randrange(8)
        elif kind == 2:
            del content[at : at + dice.randint(1, 40)]
        elif kind == 3:
            del content[at:]
        elif kind == 4:
            other = dice.randrange(len(content) or 1)
            content[at:at] = content[other : other + dice.randint(1, 60)]
        elif kind == 5:
            extreme = dice.choice([b"\xff" * 4, b"\xff" * 8, bytes(8), b"\0\0\0\x80", b"\x7f" * 4])
            content[at : at + len(extreme)] = extreme
        else:
            content[at:at] = dice.choice(FRAGMENTS)
    return bytes(content)


FRAGMENTS = [
    b"cos\nsystem\n(X\x04\x00\x00\x00true\x85R",
    b"cbuiltins\neval\nX\x03\x00\x00\x001+1\x85R",
    b"\x8c\x08builtins\x8c\x04exec\x93",
    b"cfcn_keras.weights.files.unpickle\nload_pickle\n",
    b"ctorch.hub\nload\n",
    b"Q",
    b"R",
    b"b",
    b"(t",
    b"}",
    b"h\x05",
    b"\x8a\x08\xff\xff\xff\xff\xff\xff\xff\x7f",
]


@pytest.fixture(scope="module")
def samples(tmp_path_factory):
    """Small files by torch, of both formats, with views, nesting and several number types."""
    torch = pytest.importorskip("torch")
    base = torch.arange(24.0).reshape(4, 6)
    content = OrderedDict(
        weight=base,
        turned=base.t(),
        part=base[1:, ::2],
        half=torch.ones(3).half(),
        brain=torch.ones(3).bfloat16(),
        flags=torch.tensor([True, False]),
        count=torch.tensor(7),
        wide=torch.ones(2, dtype=torch.uint16),
    )
    folder = tmp_path_factory.mktemp("samples")
    written = {}
    for name, zipped in (("zip", True), ("legacy", False)):
        torch.save(
            {"epoch": 3, "state_dict": content},
            folder / name,
            _use_new_zipfile_serialization=zipped,
        )
        written[name] = (folder / name).read_bytes()
    return written


def rezipped(content: bytes, dice: random.Random) -> bytes:
    """A zip checkpoint whose pickle is mutated, with checksums that are right again."""
    out = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(content)) as source, zipfile.ZipFile(out, "w") as target:
        for name in source.namelist():
            body = source.read(name)
            target.writestr(name, mutated(body, dice) if name.endswith("data.pkl") else body)
    return out.getvalue()


def head_of_legacy(content: bytes, dice: random.Random) -> bytes:
    """A legacy checkpoint with the mutation in its pickles rather than in its numbers."""
    end = content.rindex(b"e.") + 2
    return mutated(content[:end], dice) + content[end:]


def mutation_run(attempt, samples, path, cases):
    dice = random.Random(0)
    accepted = 0
    for _ in range(cases):
        for name, damage in (
            ("zip", mutated),
            ("zip", rezipped),
            ("legacy", mutated),
            ("legacy", head_of_legacy),
        ):
            content = damage(samples[name], dice)
            path.write_bytes(content)
            accepted += attempt(path) is not None
    return accepted


@pytest.mark.torch
def test_mutated_files(attempt, samples, tmp_path):
    path = tmp_path / "a.pth"
    for content in samples.values():
        path.write_bytes(content)
        assert len(attempt(path)) == 8
    accepted = mutation_run(attempt, samples, path, 250)
    assert 50 < accepted < 950  # neither all hopeless nor all harmless


@pytest.mark.torch
@pytest.mark.slow
def test_mutated_files_at_length(attempt, samples, tmp_path):
    mutation_run(attempt, samples, tmp_path / "a.pth", 1_000)


def real_head_run(attempt, source, path, cases):
    shutil.copyfile(source, path)
    path.chmod(0o600)
    with path.open("rb") as file:
        head = file.read(6000)
    dice = random.Random(1)
    for _ in range(cases):
        changed = mutated(head, dice)[: len(head)]
        with path.open("r+b") as file:
            file.write(changed)
        attempt(path, touch=False)
        with path.open("r+b") as file:
            file.write(head)
    assert attempt(path, touch=False)


def test_the_real_file_s_head(attempt, shared_weights, tmp_path):
    real_head_run(attempt, shared_weights, tmp_path / "a.pth", 300)


@pytest.mark.slow
def test_the_real_file_s_head_at_length(attempt, shared_weights, tmp_path):
    real_head_run(attempt, shared_weights, tmp_path / "a.pth", 1_500)


@pytest.mark.slow
def test_the_real_file_cut_off_anywhere(attempt, shared_weights, tmp_path):
    path = tmp_path / "a.pth"
    shutil.copyfile(shared_weights, path)
    path.chmod(0o600)
    size = path.stat().st_size
    while size:
        size = size - 5 if 5 <= size < 6000 else int(size * 0.97)
        with path.open("r+b") as file:
            file.truncate(size)
        assert not attempt(path, touch=False)
