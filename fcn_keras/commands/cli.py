"""What all command lines share: parsing, and one-line errors."""

from __future__ import annotations

import contextlib
import io
import itertools
import os
import re
import sys
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated, Any, Literal

import tyro
from rich.console import Console
from typing_extensions import Doc

from fcn_keras.commands.flags import flags, name_flags, nearest, renew
from fcn_keras.cpu import allocator
from fcn_keras.cpu.switches import may_keep_memory
from fcn_keras.data.catalog import DataFolder, DatasetName
from fcn_keras.errors import InputError
from fcn_keras_cli import fail, load_package, program, stopped

MAX_CACHE_BYTES = MAX_MODEL_BYTES = 2**30
# Packages by which JAX finds other devices than the CPU.
ACCELERATORS = ("jax_plugins", "libtpu")

Backend = Literal["jax", "tensorflow", "torch"]
Model = Annotated[
    tyro.conf.Positional[Path],
    tyro.conf.arg(metavar="MODEL"),
    Doc("A .keras file, a compact .safetensors file, or voc2012, which ships with the package."),
]


@dataclass(frozen=True, kw_only=True)
class Options:
    """Options that every command has."""

    backend: Backend = "jax"
    """Keras backend. KERAS_BACKEND sets it too."""
    debug: bool = False
    """Show the traceback of an error, not just one line."""


@dataclass(frozen=True, kw_only=True)
class DataOptions(Options):
    """Options that name a data set."""

    dataset: DatasetName = "shapes"
    data_dir: DataFolder = None


def console(quiet: bool = False) -> Console:
    """Standard output without markup, so that names from files print as they are."""
    return Console(markup=False, highlight=False, quiet=quiet)


def run(main: Callable[[Any], None], options: Any, description: str, default: Any = None) -> None:
    """Parses the command line into `options` and calls ``main(options)``.

    An error becomes one line on standard error. The exit status is 2 for bad input, 1 for files
    that can't be read or written, and 130 for Ctrl-C.

    Args:
        main: The command.
        options: A dataclass of `Options`, or a union of several, each a subcommand.
        description: What ``--help`` says about the command.
        default: ``tyro.MISSING`` for a union.
    """
    spec = sys.modules[main.__module__].__spec__
    module = spec.name if spec else main.__module__  # a script run by its path has none
    command = module.removesuffix(".__main__").split(".")[-1]
    try:
        parsed = _parse(options, program(command), description, default)
        with _getting_memory():
            load_package()
        _keep_programs()
        main(parsed)
    except KeyboardInterrupt:
        stopped()
    except BrokenPipeError:
        raise
    except (InputError, OSError) as error:
        if "--debug" in sys.argv:
            raise
        fail(name_flags(describe(error), options), 2 if isinstance(error, InputError) else 1)


def describe(error: Exception) -> str:
    """The error in one line; an error of the system begins with the file's name."""
    if isinstance(error, OSError) and error.filename is not None:
        return f"{error.filename}: {error.strerror}"
    return next(iter(str(error).splitlines()), type(error).__name__)


def _parse(options: Any, prog: str, description: str, default: Any) -> Any:
    errors = io.StringIO()
    try:
        with contextlib.redirect_stderr(errors):
            parsed, unknown = tyro.cli(
                options,
                prog=prog,
                args=renew(sys.argv[1:]),
                default=default,
                description=description,
                return_unknown_args=True,
            )
    except SystemExit as stop:
        if stop.code == 2:
            fail(name_flags(_first_lines(errors.getvalue()), options))
        raise
    if unknown:
        fail(_unknown(unknown, options))
    return parsed


def _unknown(arguments: list[str], options: type) -> str:
    name = next((word for word in arguments if word.startswith("-")), arguments[0]).split("=")[0]
    if not name.startswith("-"):
        return f"unexpected argument {name}"
    meant = nearest(name, flags(options))
    return f"no option named {name}; " + (f"did you mean {meant}?" if meant else "see --help")


def _first_lines(box: str) -> str:
    """The text in the box that tyro draws, between its title and its next rule, as one line."""
    plain = re.sub(r"\x1b\[[0-9;]*m", "", box)
    _, *rows = [line.strip("│╭╮╰╯ ") for line in plain.splitlines()]
    if rows and not rows[0].strip("-"):  # under the title, where the terminal has no box characters
        rows = rows[1:]
    shown = itertools.takewhile(lambda row: row.strip("─-"), rows)
    return " ".join(shown).removeprefix("Error parsing Options: ")


def _getting_memory() -> contextlib.AbstractContextManager:
    """Gets memory for the largest ``.keras`` file of the command line, if JAX runs on a CPU."""
    files = [word for word in sys.argv[1:] if word.endswith(".keras") and os.path.isfile(word)]
    size = max(map(os.path.getsize, files), default=0)
    on_cpu = os.environ["KERAS_BACKEND"] == "jax" and not any(map(find_spec, ACCELERATORS))
    if not (size and on_cpu and may_keep_memory()):
        return contextlib.nullcontext()
    return allocator.getting(min(size, MAX_MODEL_BYTES) + allocator.FOR_A_PHOTO)


def _keep_programs() -> None:
    """Keeps programs in the user's cache folder, for a quicker second start.

    JAX's own variables take precedence: ``JAX_COMPILATION_CACHE_DIR`` names another folder, and
    ``JAX_ENABLE_COMPILATION_CACHE=false`` keeps none.
    """
    # What can't be cached is compiled again: no reason to print, say, that a disk is full.
    warnings.filterwarnings("ignore", "Error (reading|writing) persistent compilation cache")
    if os.environ["KERAS_BACKEND"] != "jax":
        return
    import jax

    from fcn_keras.cpu import traced
    from fcn_keras.storage import cache_folder

    if "JAX_COMPILATION_CACHE_DIR" not in os.environ:
        jax.config.update("jax_compilation_cache_dir", str(cache_folder() / "compiled"))
        jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.1)
        jax.config.update("jax_compilation_cache_max_size", MAX_CACHE_BYTES)
    settings = jax.config.values
    folder = settings["jax_compilation_cache_dir"]
    # JAX takes addresses such as gs://bucket too.
    if folder and "://" not in folder and settings["jax_enable_compilation_cache"]:
        traced.keep_in(Path(folder) / "traced")
