"""Reports versions, devices, caches and data, and tests the installation, for an issue."""

import importlib.metadata
import os
import platform
import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from typing_extensions import Doc

from fcn_keras.commands import cli

PACKAGE = "fcn-keras"
# Extras for developers only.
DEVELOPMENT = ("docs", "test")
# Variables that affect these programs; others may be private.
VARIABLES = (
    *("KERAS_BACKEND", "KERAS_HOME", "FCN_KERAS_LEAVE_PROCESS", "XDG_CACHE_HOME"),
    *("JAX_PLATFORMS", "JAX_COMPILATION_CACHE_DIR", "XLA_FLAGS", "CUDA_VISIBLE_DEVICES"),
    *("OMP_NUM_THREADS", "TFDS_DATA_DIR"),
)


@dataclass(frozen=True, kw_only=True)
class Options(cli.Options):
    """Options of the report."""

    data_dir: Annotated[Path | None, Doc("Another folder to look for data sets in.")] = None
    self_test: bool = True
    """Train a tiny model for one step and use it, which takes a few seconds."""


def main(options: Options) -> None:
    """Prints the report. Exits with status 1 if the self-test fails."""
    from fcn_keras.commands.self_test import run_tests

    sections = [
        ("installation", _installation()),
        ("packages", _packages()),
        ("computing", _computing()),
        ("caches", _caches()),
        ("data sets", _data_sets(options.data_dir)),
    ]
    for title, lines in sections:
        _print_section(title, lines)
    if options.self_test:
        failed: list[str] = []
        _print_section("self-test", run_tests(failed, options.debug))
        if failed:
            cli.fail(f"the self-test failed: {', '.join(failed)}", 1)


def _print_section(title: str, lines: Iterator[tuple[str, str]]) -> None:
    """Prints each line as soon as it is known."""
    print(f"{title}:", flush=True)
    home = str(Path.home())
    for name, value in lines:
        # The home folder's path may name the user.
        print(f"  {name}: {value}".replace(home, "~"), flush=True)


def _installation() -> Iterator[tuple[str, str]]:
    from fcn_keras.cpu.memory import free_bytes
    from fcn_keras.training.run_folder import git_hash
    from fcn_keras.version import __version__

    commit = git_hash()
    yield PACKAGE, __version__ + (f" (commit {commit})" if commit else "")
    yield "python", f"{platform.python_version()} ({sys.executable})"
    yield "platform", platform.platform()
    free = free_bytes()
    yield "memory free", "unknown" if free is None else _size(free)
    for name in VARIABLES:
        if name in os.environ:
            yield name, os.environ[name]


def _packages() -> Iterator[tuple[str, str]]:
    """The dependencies, and those of the extras that are installed."""
    try:
        lines = importlib.metadata.requires(PACKAGE) or []
    except importlib.metadata.PackageNotFoundError:
        yield PACKAGE, "run from its folder, not installed, so its dependencies are unknown"
        return
    found = {}
    for line in lines:
        name, extra = re.match(r"[\w.-]+", line), re.search(r"extra == ['\"]([\w-]+)", line)
        if name is None or name[0] == PACKAGE or (extra and extra[1] in DEVELOPMENT):
            continue
        version = _version(name[0])
        if version or not extra:
            found[name[0].lower()] = version or "MISSING"
    yield from sorted({**found, "jaxlib": _version("jaxlib") or "MISSING"}.items())


def _version(name: str) -> str | None:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None


def _computing() -> Iterator[tuple[str, str]]:
    import keras

    from fcn_keras import cpu

    backend = keras.backend.backend()
    yield "backend", backend
    yield "devices", ", ".join(_devices(backend))
    yield "CPUs", str(len(os.sched_getaffinity(0)) if sys.platform == "linux" else os.cpu_count())
    yield "bfloat16 in the CPU", "yes" if cpu.multiplies_bfloat16() else "no"


def _devices(backend: str) -> list[str]:
    if backend == "jax":
        import jax

        return [f"{device} ({device.device_kind})" for device in jax.devices()]
    if backend == "tensorflow":
        import tensorflow

        return [device.name for device in tensorflow.config.list_logical_devices()]
    import torch

    names = [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())]
    return names or ["cpu"]


def _caches() -> Iterator[tuple[str, str]]:
    from fcn_keras.storage import cache_folder

    folder = cache_folder()
    folders = sorted(path for path in folder.glob("*") if path.is_dir())
    if not folders:
        yield str(folder), "empty"
    for path in folders:
        yield str(path), _size(_bytes_in(path))


def _bytes_in(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def _size(count: int) -> str:
    return f"{count / 1e9:.1f} GB" if count >= 1e9 else f"{count / 1e6:.1f} MB"


def _data_sets(data_dir: Path | None) -> Iterator[tuple[str, str]]:
    """The data sets in the folder given, the current one, and its subfolder ``data``."""
    from fcn_keras.data.shapes import default_root

    if default_root().is_dir():
        yield "shapes", str(default_root())
    roots = [Path(), Path("data"), *([data_dir] if data_dir else [])]
    found = [line for root in roots if root.is_dir() for line in _data_sets_in(root)]
    yield from found
    if not found:
        yield "in this folder", "none (--data-dir names another)"


def _data_sets_in(root: Path) -> Iterator[tuple[str, str]]:
    from fcn_keras.data.catalog import FILE_SETS, open_files
    from fcn_keras.errors import InputError

    for name in FILE_SETS.keys() - {"shapes"}:
        counts = []
        for split in ("train", "val"):
            try:
                counts.append(f"{len(open_files(name, root, split))} {split}")
            except InputError:
                continue  # not this set, or without this split
        if counts:
            yield name, f"{root.resolve()} ({', '.join(counts)})"


def run() -> None:
    """The command."""
    cli.run(main, Options, __doc__)
