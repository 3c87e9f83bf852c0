"""Programs kept as JAX traced them, for a quick second start (JAX on a CPU only).

Tracing FCN-8s takes as long as segmenting a photo, and JAX asks its compilation cache only after
that. So `kept` finds a program by what decides it: the model's configuration, the function's name,
the shapes of the arguments, the code that is traced, and the settings. Its file holds StableHLO as
`jax.export` writes it, which is compiled like any program, or found in JAX's cache.

A model that was read from a file is built by its configuration, and by code of Keras and this
package. The commands have no other models, so they turn this on. In a user's program a layer may be
anything, so nothing else does.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import os
import re
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import jax
import jaxlib
import keras
import numpy as np
from jax import export

from fcn_keras import cpu
from fcn_keras.cpu import runtime
from fcn_keras.imports import without_tensorflow
from fcn_keras.storage import replacing

MOST_FILES = 256  # of some 200 kB

# What is traced is their code.
_PACKAGES = {
    "fcn_keras": Path(__file__).parents[1],
    "keras": Path(str(keras.__file__)).parent,
    "jax": Path(str(jax.__file__)).parent,
}
_DIGEST_BYTES = 32
_folder: Path | None = None


def keep_in(folder: Path | None) -> None:
    """Makes `kept` keep programs in `folder` from now on; None ends it."""
    global _folder
    _folder = folder


def kept(function: Callable, model: keras.Model, name: str) -> Callable:
    """`function`, for `jax.jit`, but traced only if no process has done so before.

    It is `function` itself where there is no folder (`keep_in`), on other devices than CPUs, for a
    model with layers of other packages, and where Python runs without source files.

    Args:
        function: It computes `model` or some of its layers. Arguments and results are arrays in
            lists and tuples, and the model's weights are among the arguments.
        model: The model.
        name: With the model, and the shapes and dtypes of the arguments, it decides what `function`
            computes.
    """
    folder = _folder
    if folder is None or not (runtime.on_cpu() and _code()):
        return function
    described = _description(model)
    if described is None:
        return function

    @functools.wraps(function)
    def run(*arguments: Any) -> Any:
        shapes = jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype), arguments)
        decides = f"{name} {shapes} {described} {_settings()}"
        program = _program(function, shapes, folder / f"{_sum(decides.encode()).hex()}.bin")
        return function(*arguments) if program is None else program.call(*arguments)

    return run


def _program(function: Callable, shapes: tuple, path: Path) -> export.Exported | None:
    """The program in the file, or else traced and written there; None if JAX can't export it."""
    program = _read(path)
    if program is None:
        try:
            program = export.export(jax.jit(function))(*shapes)
            content = program.serialize()
        except ValueError:
            return None
        with contextlib.suppress(OSError):  # such as a full disk
            _write(path, content)
    return program


def _read(path: Path) -> export.Exported | None:
    try:
        content = path.read_bytes()
    except OSError:
        return None
    digest, program = content[:_DIGEST_BYTES], content[_DIGEST_BYTES:]
    if _sum(program) != digest:
        return None
    with contextlib.suppress(OSError):
        os.utime(path)  # so that it is among the last to go
    return export.deserialize(bytearray(program))


def _write(path: Path, program: bytes | bytearray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with replacing(path) as draft:
        draft.write_bytes(_sum(program) + program)
    files = sorted(path.parent.glob("*.bin"), key=os.path.getmtime)
    for file in files[:-MOST_FILES]:
        file.unlink(missing_ok=True)


def _sum(content: bytes | bytearray) -> bytes:
    return hashlib.sha256(content).digest()


def _description(model: keras.Model) -> str | None:
    """The model's configuration; None if other packages have a part in it."""
    with without_tensorflow():
        described = model.to_json()
    packages = re.findall(r'"module": "(\w+)', described)
    return described if _PACKAGES.keys() >= set(packages) else None


def _settings() -> str:
    """What decides how any function is traced."""
    algorithms = [cpu.turned_on(name) for name in cpu.ALGORITHMS]
    machine = [cpu.has_amx(), cpu.multiplies_bfloat16(), jax.local_device_count()]
    numbers = [keras.config.floatx(), keras.config.epsilon(), keras.config.image_data_format()]
    options = sorted((name, repr(value)) for name, value in jax.config.values.items())
    return repr([algorithms, machine, numbers, options, _code()])


@functools.cache
def _code() -> str:
    """The source files by size and time, as Python compares them, and versions of what has none.

    Empty if a package has no source files, as in an application that was frozen.
    """
    try:
        files = [sorted(_sources(folder)) for folder in _PACKAGES.values()]
    except OSError:
        return ""
    return repr([sys.version, jaxlib.__version__, np.__version__, files]) if all(files) else ""


def _sources(folder: Path | str) -> Iterator[tuple[str, int, int]]:
    with os.scandir(folder) as entries:
        for entry in entries:
            if entry.is_dir():
                yield from _sources(entry.path)
            elif entry.name.endswith(".py"):
                stat = entry.stat()
                yield entry.path, stat.st_size, stat.st_mtime_ns
