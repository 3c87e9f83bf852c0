"""Recipes: one module each, whose docstring is its lab note and whose `config` is the run."""

import importlib
import pkgutil

from fcn_keras.training import TrainConfig

NAMES = tuple(sorted(module.name for module in pkgutil.iter_modules(__path__)))


def load_recipe(name: str) -> TrainConfig:
    """The settings of the recipe called `name`, one of `NAMES`."""
    return importlib.import_module(f"{__name__}.{name}").config
