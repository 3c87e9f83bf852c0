"""The ``fcn-keras`` command: chooses the backend, then hands over to ``fcn_keras.commands``.

It is no part of the package, since importing anything of the package runs its ``__init__``, which
imports Keras: the backend must be set before, and help, versions and mistyped options need neither
Keras nor JAX.
"""

from __future__ import annotations

import argparse
import importlib
import importlib.util
import os
import sys
from typing import Any, NoReturn

BACKENDS = ("jax", "tensorflow", "torch")
COMMANDS = {
    "train": "train a model on a data set",
    "evaluate": "score a model on a data set, each image at its own size",
    "predict": "segment photos and videos",
    "export": "write a model in another format, with a proof that it computes the same",
    "data": "fetch, check and look at a data set",
    "convert": "turn torchvision's VGG16 into weights for every FCN",
    "summarize": "compare training runs",
}
# Packages whose __init__ imports what parsing the options doesn't need.
HEAVY = (
    "fcn_keras",
    "fcn_keras.data",
    "fcn_keras.data.annotations",
    "fcn_keras.export",
    "fcn_keras.models",
    "fcn_keras.training",
)

_installed = False


def main(command: str | None = None) -> None:
    """Runs `command` on the process's arguments; None takes it from them, as ``fcn-keras`` does."""
    global _installed
    _installed = command is None
    try:
        for package in HEAVY:
            _defer(package)
        command = command or _parse_command()
        select_backend()
        importlib.import_module(f"fcn_keras.commands.{command}").run()
    except KeyboardInterrupt:
        stopped()
    except BrokenPipeError:  # the reader of the output left early, as `head` does
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)


def program(command: str) -> str:
    """How the user calls `command`, seen from how this one was called."""
    if _installed:
        return f"fcn-keras {command}"
    if command == "convert":
        return "python tools/convert_torch_vgg.py"
    return f"python -m experiments.{command}"


def _parse_command() -> str:
    from fcn_keras.errors import suggest
    from fcn_keras.version import __version__

    listing = "\n".join(f"  {name:10} {summary}" for name, summary in COMMANDS.items())
    parser = argparse.ArgumentParser(
        prog="fcn-keras",
        description="FCN-32s, FCN-16s and FCN-8s semantic segmentation for Keras 3 on JAX.",
        epilog=f"commands:\n{listing}\n\nfcn-keras COMMAND --help lists a command's options",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"fcn-keras {__version__}")
    parser.add_argument("command", metavar="COMMAND")
    parser.error = fail  # type: ignore[method-assign]
    command = parser.parse_args(sys.argv[1:2] or ["--help"]).command
    if command not in COMMANDS:
        fail(f"no command named {command!r}; {suggest(command, COMMANDS)}")
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


def _defer(name: str) -> None:
    """Has a package's ``__init__`` run when something is first asked of it, or by `load_package`.

    Modules inside can be imported before that.
    """
    if name in sys.modules:
        return
    spec = importlib.util.find_spec(name)
    assert spec is not None and spec.loader is not None
    loader, package = spec.loader, importlib.util.module_from_spec(spec)

    def look_up(attribute: str) -> Any:
        if importlib.util.find_spec(f"{name}.{attribute}"):
            return importlib.import_module(f"{name}.{attribute}")
        del package.__getattr__
        loader.exec_module(package)
        return getattr(package, attribute)

    package.__getattr__ = look_up  # type: ignore[method-assign]
    sys.modules[name] = package


def load_package() -> None:
    """Runs what `_defer` put off."""
    for name in HEAVY:
        _ = importlib.import_module(name).__all__


def stopped() -> NoReturn:
    """Ends the process as Ctrl-C should."""
    print("Stopped.", file=sys.stderr)
    sys.exit(130)


def fail(message: str, status: int = 2) -> NoReturn:
    """Prints ``error: message`` and exits."""
    print(f"error: {message}", file=sys.stderr)
    sys.exit(status)
