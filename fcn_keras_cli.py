"""The ``fcn-keras`` command: chooses the backend, then hands over to ``fcn_keras.commands``.

It is no part of the package, since importing anything of the package imports Keras: the backend
must be set before, and ``fcn-keras --help`` needs neither.
"""

from __future__ import annotations

import argparse
import importlib
import importlib.metadata
import importlib.util
import os
import sys
from typing import NoReturn

BACKENDS = ("jax", "tensorflow", "torch")
COMMANDS = {
    "train": "train a model on a data set",
    "evaluate": "score a model on a data set, each image at its own size",
    "predict": "segment photos",
    "export": "write a model in another format, with a proof that it computes the same",
    "data": "fetch, check and look at a data set",
    "convert": "turn torchvision's VGG16 into weights for every FCN",
    "summarize": "compare training runs",
}


def main(command: str | None = None) -> None:
    """Runs `command` on the process's arguments; None takes it from them."""
    if command is None:
        command = _parse_command()
    select_backend()
    importlib.import_module(f"fcn_keras.commands.{command}").run()


def _parse_command() -> str:
    listing = "\n".join(f"  {name:10} {summary}" for name, summary in COMMANDS.items())
    parser = argparse.ArgumentParser(
        prog="fcn-keras",
        description="FCN-32s, FCN-16s and FCN-8s semantic segmentation for Keras 3 on JAX.",
        epilog=f"commands:\n{listing}\n\nfcn-keras COMMAND --help lists a command's options",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    version = importlib.metadata.version("fcn-keras")
    parser.add_argument("--version", action="version", version=f"fcn-keras {version}")
    parser.add_argument("command", choices=COMMANDS, metavar="COMMAND")
    command = parser.parse_args(sys.argv[1:2] or ["--help"]).command
    del sys.argv[1]
    return command


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
    if backend not in BACKENDS:
        return
    if importlib.util.find_spec(backend) is None:
        fail(f"--backend {backend}: {backend} is not installed; pip install {backend}")
    os.environ["KERAS_BACKEND"] = backend


def fail(message: str) -> NoReturn:
    """Prints ``error: message`` and exits with status 2."""
    print(f"error: {message}", file=sys.stderr)
    sys.exit(2)
