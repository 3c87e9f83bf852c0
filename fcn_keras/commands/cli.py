"""What every command line shares: parsing, and one-line errors."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, TypeVar

import tyro

from fcn_keras_cli import fail

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


def run(
    main: Callable[[T], None], options: type[T], description: str, default: T | None = None
) -> None:
    """Parses the command line into `options` and calls ``main(options)``.

    Bad input ends in one line on the standard error and exit status 2.
    """
    from fcn_keras import InputError

    _keep_compiled_programs()
    try:
        main(tyro.cli(options, default=default, description=description))
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

    from fcn_keras.storage import cache_folder

    jax.config.update("jax_compilation_cache_dir", str(cache_folder() / "compiled"))
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.1)
    jax.config.update("jax_compilation_cache_max_size", MAX_CACHE_BYTES)
