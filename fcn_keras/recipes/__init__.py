"""Recipes: one module each, with its lab note as docstring and the run's settings as `config`.

`config` is a `TrainConfig`, or a function that makes one for the user's own `Photos`.
"""

import contextlib
import importlib
import pkgutil
import runpy
from collections.abc import Iterator
from pathlib import Path

from fcn_keras.data.folder import folder_source
from fcn_keras.data.photos import Photos, survey
from fcn_keras.errors import InputError, suggest
from fcn_keras.storage import reason
from fcn_keras.training.config import TrainConfig

NAMES = tuple(sorted(module.name for module in pkgutil.iter_modules(__path__)))


SOME_PHOTOS = Photos(count=100, height=480, width=640)
"""Photos to show such a recipe with if no folder is given."""


def load_recipe(name: str, data_dir: Path | None = None) -> TrainConfig:
    """The settings of a recipe.

    Args:
        name: One of `NAMES`, or the path of a .py file of your own that sets ``config``.
        data_dir: The folder of the user's own photos, for recipes whose settings follow from them.

    Raises:
        InputError: there is no such recipe, the file can't be run or sets no `TrainConfig`, or the
            folder can't be used.
    """
    if name.endswith(".py"):
        if not Path(name).is_file():
            raise InputError(f"recipe {name} is not a file")
        with _told(name):
            config = runpy.run_path(name).get("config")
    elif name in NAMES:
        config = importlib.import_module(f"{__name__}.{name}").config
    else:
        raise InputError(f"no recipe named {name!r}; {suggest(name, NAMES)}")
    if callable(config):
        photos = survey(folder_source(data_dir)) if data_dir else SOME_PHOTOS
        with _told(name):
            config = config(photos)
    if not isinstance(config, TrainConfig):
        raise InputError(f"recipe {name} doesn't set config = TrainConfig(...)")
    return config


@contextlib.contextmanager
def _told(name: str) -> Iterator[None]:
    """Turns what goes wrong in a recipe's code into a line."""
    try:
        yield
    except InputError:
        raise
    except Exception as error:
        raise InputError(
            f"recipe {name} can't be run ({type(error).__name__}: {reason(error)})"
        ) from error
