"""Trains an FCN. With no options: a small FCN-8s on a built-in data set, in minutes on a CPU."""

from __future__ import annotations

from pathlib import Path

from fcn_keras.commands import cli
from fcn_keras.commands.train_options import Options, defaults
from fcn_keras.errors import InputError
from fcn_keras.imports import import_albumentations, without
from fcn_keras_cli import fail, load_package, scan


def main(options: Options) -> None:
    """Runs the training and prints its outcome."""
    with without("torch"):  # which albumentations and tensorboardX import in a second or more
        from fcn_keras.commands.training_run import train_and_show

        import_albumentations()
    train_and_show(options)


def run() -> None:
    """The command."""
    recipe, data_dir = scan("--recipe", "shapes"), scan("--data-dir", "")
    if recipe.endswith(".py"):
        load_package()  # the user's own recipe may import anything
    try:
        default = defaults(recipe, Path(data_dir) if data_dir else None)
    except InputError as error:
        fail(str(error))
    cli.run(main, Options, __doc__, default=default)
