"""Recipes: one module each, whose docstring is its lab note and whose `config` is the run."""

import importlib
import pkgutil
import runpy
from pathlib import Path

from fcn_keras.errors import InputError, suggest
from fcn_keras.training.config import TrainConfig

NAMES = tuple(sorted(module.name for module in pkgutil.iter_modules(__path__)))


def load_recipe(name: str) -> TrainConfig:
    """The settings of a recipe.

    Args:
        name: One of `NAMES`, or the path of a .py file of your own that sets ``config``.

    Raises:
        InputError: there is no such recipe, or the file sets no `TrainConfig`.
    """
    if name.endswith(".py"):
        if not Path(name).is_file():
            raise InputError(f"recipe {name} is not a file")
        config = runpy.run_path(name).get("config")
    elif name in NAMES:
        config = importlib.import_module(f"{__name__}.{name}").config
    else:
        raise InputError(f"no recipe named {name!r}; {suggest(name, NAMES)}")
    if not isinstance(config, TrainConfig):
        raise InputError(f"recipe {name} doesn't set config = TrainConfig(...)")
    return config
