"""A pickle machine that builds tensor descriptions and plain containers, and nothing else.

Python's own unpickler calls whatever a file names, so a checkpoint can run any program. This one
knows the few names below; any other is refused when it is mentioned, before anything is built.
Opcodes: `pickletools` in Python's standard library. What torch writes: `torch/_utils.py` and
`torch/serialization.py`.
"""

from __future__ import annotations

import io
import mmap
import pickletools
from collections.abc import Callable, Sized
from typing import Any

from fcn_keras.weights.files.torch_names import (
    Builder,
    Refused,
    Storage,
    expect,
    find_global,
    hashable,
    storage_of,
)

# VGG16 takes about 1,500 opcodes, and its trainer's checkpoint 10,000. Far more is an attack on
# memory: one byte of pickle makes a list of 56.
MAX_OPCODES = 1_000_000

Stream = io.BytesIO | mmap.mmap
_OPCODES = {opcode.code: opcode for opcode in pickletools.opcodes}


def load_pickle(stream: Stream) -> tuple[object, dict[str, Storage]]:
    """Reads one pickle from `stream` and leaves the stream right after it.

    Returns:
        What was pickled, in plain containers, numbers, strings and `Tensor` descriptions; and
        every storage it named, by key.

    Raises:
        ValueError: the pickle is damaged, asks for anything else, or is absurdly long.
    """
    machine = _Machine()
    for _ in range(MAX_OPCODES):
        position = stream.tell()
        code = stream.read(1)
        if not code:
            raise ValueError(f"the pickle ends early, at byte {position}")
        opcode = _OPCODES.get(code.decode("latin-1"))
        if opcode is None or opcode.name not in _STEPS:
            named = opcode.name if opcode else f"0x{code.hex()}"
            raise ValueError(f"pickle opcode {named} at byte {position} is not one torch writes")
        try:
            argument = _argument(opcode, stream)
            if opcode.name == "STOP":
                return machine.stack.pop(), machine.storages
            _STEPS[opcode.name](machine, argument)
        except Refused:
            raise
        except (ValueError, TypeError, LookupError, AttributeError) as error:
            raise ValueError(f"damaged pickle: {opcode.name} at byte {position}") from error
    raise ValueError(f"the pickle has more than {MAX_OPCODES:,} opcodes")


def _argument(opcode: pickletools.OpcodeInfo, stream: Any) -> object:
    if opcode.name == "GLOBAL":
        # pickletools warns of backslashes in these two lines; Python's pickle takes them literally.
        module, name = stream.readline(), stream.readline()
        if not name.endswith(b"\n"):
            raise ValueError("an unfinished name")
        return module[:-1].decode(), name[:-1].decode()
    return opcode.arg.reader(stream) if opcode.arg else None


class _Machine:
    def __init__(self) -> None:
        self.stack: list = []
        self.marks: list[list] = []
        self.memo: dict[int, object] = {}
        self.storages: dict[str, Storage] = {}
        self.copied = 0

    def push(self, value: object) -> None:
        self.stack.append(value)

    def replace(self, count: int, build: Callable) -> None:
        """Puts ``build(the last count values)`` in their place."""
        if count > len(self.stack):
            raise IndexError(count)
        split = len(self.stack) - count
        values = self.stack[split:]
        del self.stack[split:]
        self.push(build(values))

    def mark(self) -> None:
        self.marks.append(self.stack)
        self.stack = []

    def pop_mark(self) -> list:
        values, self.stack = self.stack, self.marks.pop()
        return values

    def memoize(self, index: int) -> None:
        self.memo[index] = self.stack[-1]

    def set_items(self, items: list) -> None:
        target = self.stack[-1]
        expect(target, dict)
        if len(items) % 2:
            raise ValueError("a key without a value")
        for key, value in zip(items[::2], items[1::2], strict=True):
            target[hashable(key)] = value

    def extend(self, items: list) -> None:
        expect(self.stack[-1], list)
        self.stack[-1].extend(items)

    def add_items(self, items: list) -> None:
        expect(self.stack[-1], set)
        self.stack[-1].update(map(hashable, items))

    def build_state(self) -> None:
        # A state dict has its modules' version numbers as an attribute, which isn't needed.
        self.stack.pop()
        expect(self.stack[-1], dict)

    def find_storage(self, values: list) -> Storage:
        storage = storage_of(values[0])
        if self.storages.setdefault(storage.key, storage) != storage:
            raise Refused(f"describes storage {storage.key!r:.40} in two ways; it is damaged")
        return storage

    def reduce(self, values: list) -> object:
        builder, arguments = values
        expect(arguments, tuple)
        if not isinstance(builder, Builder) or builder.call is None:
            raise TypeError("not callable")
        # One list, named again and again, would otherwise be copied as often.
        self.copied += sum(len(each) for each in arguments if isinstance(each, Sized))
        if self.copied > MAX_OPCODES:
            raise Refused(f"the pickle builds more than {MAX_OPCODES:,} items")
        return builder.call(*arguments)


def _nothing(machine: _Machine, argument: object) -> None:
    """Protocol and frame marks carry no data."""


def _put_next(machine: _Machine, _: object) -> None:
    machine.memoize(len(machine.memo))


_Step = Callable[[_Machine, Any], None]
_STEPS: dict[str, _Step] = {
    "STOP": _nothing,
    "PROTO": _nothing,
    "FRAME": _nothing,
    "MARK": lambda m, _: m.mark(),
    "POP": lambda m, _: m.stack.pop(),
    "NONE": lambda m, _: m.push(None),
    "NEWTRUE": lambda m, _: m.push(True),
    "NEWFALSE": lambda m, _: m.push(False),
    "EMPTY_DICT": lambda m, _: m.push({}),
    "EMPTY_LIST": lambda m, _: m.push([]),
    "EMPTY_TUPLE": lambda m, _: m.push(()),
    "EMPTY_SET": lambda m, _: m.push(set()),
    "TUPLE": lambda m, _: m.push(tuple(m.pop_mark())),
    "TUPLE1": lambda m, _: m.replace(1, tuple),
    "TUPLE2": lambda m, _: m.replace(2, tuple),
    "TUPLE3": lambda m, _: m.replace(3, tuple),
    "APPEND": lambda m, _: m.extend([m.stack.pop()]),
    "APPENDS": lambda m, _: m.extend(m.pop_mark()),
    "ADDITEMS": lambda m, _: m.add_items(m.pop_mark()),
    "SETITEM": lambda m, _: m.set_items([m.stack.pop(-2), m.stack.pop()]),
    "SETITEMS": lambda m, _: m.set_items(m.pop_mark()),
    "MEMOIZE": _put_next,
    "GLOBAL": lambda m, names: m.push(find_global(*names)),
    "STACK_GLOBAL": lambda m, _: m.replace(2, lambda names: find_global(*names)),
    "REDUCE": lambda m, _: m.replace(2, m.reduce),
    "BUILD": lambda m, _: m.build_state(),
    "BINPERSID": lambda m, _: m.replace(1, m.find_storage),
    **dict.fromkeys(("BINPUT", "LONG_BINPUT"), lambda m, index: m.memoize(index)),
    **dict.fromkeys(("BINGET", "LONG_BINGET"), lambda m, index: m.push(m.memo[index])),
    **dict.fromkeys(
        (
            *("BININT", "BININT1", "BININT2", "LONG1", "LONG4", "BINFLOAT"),
            *("BINUNICODE", "SHORT_BINUNICODE", "BINUNICODE8", "BINSTRING", "SHORT_BINSTRING"),
        ),
        _Machine.push,
    ),
}
