"""What every command line shares: choosing the backend, parsing, and one-line errors."""

from __future__ import annotations

import argparse
import importlib.util
import os
import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, TypeVar, get_args

import tyro

MAX_CACHE_BYTES = 2**30

Backend = Literal["jax", "tensorflow", "torch"]


@dataclass(frozen=True, kw_only=True)
class Options:
    """Options that every command has."""

    backend: Backend = "jax"
    """Keras backend. KERAS_BACKEND sets it too."""
    debug: bool = False
    """Show the traceback of an error instead of its one line."""


T = TypeVar("T", bound=Options)


def scan(option: str, default: str) -> str:
    """The value of one option on the command line, read before the full parser exists."""
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    parser.add_argument(option, dest="value", nargs="?", default=default)
    return parser.parse_known_args()[0].value or default


def select_backend() -> None:
    """Sets ``KERAS_BACKEND`` from ``--backend``. Call it before anything imports Keras.

    Exits with status 2 where the backend is not installed. An unknown name is left to the parser,
    which lists the choices.
    """
    backend = scan("--backend", os.environ.get("KERAS_BACKEND", "jax"))
    if backend not in get_args(Backend):
        return
    if importlib.util.find_spec(backend) is None:
        fail(f"--backend {backend}: {backend} is not installed; pip install {backend}")
    os.environ["KERAS_BACKEND"] = backend


def run(main: Callable[[T], None], options: type[T], default: T | None = None) -> None:
    """Parses the command line into `options` and calls ``main(options)``.

    Bad input ends in one line on the standard error and exit status 2.
    """
    from fcn_keras import InputError

    _keep_compiled_programs()
    try:
        main(tyro.cli(options, default=default, description=sys.modules["__main__"].__doc__))
    except (InputError, OSError) as error:
        if "--debug" in sys.argv:
            raise
        fail(str(error))


def _keep_compiled_programs() -> None:
    """Has JAX keep what it compiles in the user's cache, so that a second start is quicker.

    JAX's own variables go before: ``JAX_COMPILATION_CACHE_DIR`` names another folder, and
    ``JAX_ENABLE_COMPILATION_CACHE=false`` keeps nothing.
    """
    if os.environ["KERAS_BACKEND"] != "jax" or "JAX_COMPILATION_CACHE_DIR" in os.environ:
        return
    import jax

    from fcn_keras.download import cache_folder

    jax.config.update("jax_compilation_cache_dir", str(cache_folder() / "compiled"))
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.1)
    jax.config.update("jax_compilation_cache_max_size", MAX_CACHE_BYTES)


def fail(message: str) -> None:
    """Prints ``error: message`` and exits with status 2."""
    print(f"error: {message}", file=sys.stderr)
    sys.exit(2)
