"""The ``fcn-keras`` command: chooses the backend, then hands over to ``fcn_keras.commands``.

It is not part of the package, since importing anything from there runs the ``__init__``, which
imports Keras: the backend must be set first, and help, versions and mistyped options need neither
Keras nor JAX.
"""

from __future__ import annotations

import argparse
import atexit
import gc
import importlib
import importlib.util
import os
import sys
from types import ModuleType
from typing import NoReturn

BACKENDS = ("jax", "tensorflow", "torch")
COMMANDS = {
    "train": "train a model on a data set",
    "evaluate": "score a model on a data set, each image at its own size",
    "predict": "segment photos and videos",
    "demo": "try models on photos, on a page served by this machine",
    "export": "write a model in another format, with a proof that it computes the same",
    "data": "download, check and look at a data set",
    "convert": "turn torchvision's VGG16 into weights for every FCN",
    "summarize": "compare training runs",
    "doctor": "describe and test this installation, for a bug report",
}
# Packages whose __init__ imports Keras, JAX or more, which parsing the options doesn't need. Those
# further down import from those further up.
HEAVY = (
    "fcn_keras",
    "fcn_keras.training",
    "fcn_keras.export",
    "fcn_keras.data",
    "fcn_keras.data.annotations",
    "fcn_keras.models",
    "fcn_keras.cpu",
)

_deferred: list[ModuleType] = []
_installed = False


def main(command: str | None = None) -> None:
    """Runs `command` on the process's arguments; None takes it from them, as ``fcn-keras`` does."""
    global _installed
    _installed = command is None
    # NumPy's threads for matrix products, which aren't used here, wait by running.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    gc.disable()  # until `load_package`: imports leave no garbage
    # Otherwise Python looks for garbage among everything imported as it exits, for half a second.
    atexit.register(gc.freeze)
    try:
        for package in HEAVY:
            _defer(package)
        command = command or _parse_command()
        select_backend()
        importlib.import_module(f"fcn_keras.commands.{command}").run()
    except KeyboardInterrupt:
        stopped()
    except BrokenPipeError:  # the reader of the output has closed it, as `head` does
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)
    finally:
        gc.enable()


def program(command: str) -> str:
    """How the user calls `command`, judging by how this one was called."""
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


def _defer(package: str) -> None:
    """Registers a package without running its ``__init__``, which `load_package` does later.

    Until then the modules inside can be imported, but not the names that ``__init__`` gathers.
    `importlib.util.LazyLoader` would not do: importing a module looks up its package's
    ``__path__``, and any look-up makes it run the ``__init__``.
    """
    if package in sys.modules:
        return
    spec = importlib.util.find_spec(package)
    assert spec is not None
    module = sys.modules[package] = importlib.util.module_from_spec(spec)
    parent, _, name = package.rpartition(".")
    if parent:
        setattr(sys.modules[parent], name, module)
    _deferred.append(module)


def load_package() -> None:
    """Runs what `_defer` put off. Packages that nothing was imported from are left to `import`."""
    if _deferred:
        _load_deferred()
        # To look for garbage among what was imported takes as long as reading the weights.
        gc.freeze()
    gc.enable()


def _load_deferred() -> None:
    from fcn_keras.imports import without

    # What Keras imports where it is installed: 0.7 seconds. Commands that need it import it later.
    with without("cv2", "IPython", "matplotlib", "pandas"):
        importlib.import_module("keras")
    while _deferred:
        module = _deferred.pop()
        name = module.__name__
        if any(other.startswith(f"{name}.") for other in sys.modules):
            assert module.__spec__ is not None and module.__spec__.loader is not None
            module.__spec__.loader.exec_module(module)
        else:
            del sys.modules[name]
            parent, _, child = name.rpartition(".")
            delattr(sys.modules[parent], child)


def stopped() -> NoReturn:
    """Ends the process as Ctrl-C should."""
    print("Stopped.", file=sys.stderr)
    sys.exit(130)


def fail(message: str, status: int = 2) -> NoReturn:
    """Prints ``error: message`` and exits."""
    print(f"error: {message}", file=sys.stderr)
    sys.exit(status)
