"""Damages a file's bytes, in the ways that disks and people do."""

from __future__ import annotations

import random
import struct

NUMBERS = (0, 1, 2**7, 2**8 - 1, 2**15, 2**16 - 1, 2**31 - 1, 2**31, 2**32 - 1, 2**63, 2**64 - 1)
TEXTS = (
    b"-1",
    b"nan",
    b"inf",
    b"1e999",
    b"null",
    b"[" * 2000,
    b"{" * 2000,
    b'"',
    b"\x1b[31m",
    b"\n",
)


def mutated(whole: list[bytes], rng: random.Random) -> bytes:
    """One of the files with one to six changes."""
    content = bytearray(rng.choice(whole))
    for _ in range(rng.choice((1, 1, 1, 2, 3, 6))):
        rng.choice(CHANGES)(content, rng)
        if rng.random() < 0.05:
            _splice(content, rng.choice(whole), rng)
    return bytes(content)


def _place(content: bytearray, rng: random.Random) -> int:
    return rng.randrange(len(content) + 1)


def _flip(content: bytearray, rng: random.Random) -> None:
    if content:
        content[rng.randrange(len(content))] ^= 1 << rng.randrange(8)


def _byte(content: bytearray, rng: random.Random) -> None:
    if content:
        content[rng.randrange(len(content))] = rng.randrange(256)


def _number(content: bytearray, rng: random.Random) -> None:
    """An extreme value where a size or an offset may be, of either byte order."""
    form = rng.choice("<>") + rng.choice("BHIQ")
    size = struct.calcsize(form)
    place = _place(content, rng)
    content[place : place + size] = struct.pack(form, rng.choice(NUMBERS) % 256**size)


def _text(content: bytearray, rng: random.Random) -> None:
    place = _place(content, rng)
    content[place : place + rng.randrange(4)] = rng.choice(TEXTS)


def _cut(content: bytearray, rng: random.Random) -> None:
    del content[_place(content, rng) :]


def _remove(content: bytearray, rng: random.Random) -> None:
    place = _place(content, rng)
    del content[place : place + rng.randrange(1, 40)]


def _repeat(content: bytearray, rng: random.Random) -> None:
    place = _place(content, rng)
    part = content[place : place + rng.randrange(1, 40)]
    content[place:place] = part * rng.choice((1, 2, 50))


def _splice(content: bytearray, other: bytes, rng: random.Random) -> None:
    content[_place(content, rng) :] = other[rng.randrange(len(other) + 1) :]


CHANGES = (_flip, _flip, _byte, _byte, _number, _number, _text, _cut, _remove, _repeat)
