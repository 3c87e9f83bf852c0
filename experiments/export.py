"""Exports a model as a SavedModel that needs TensorFlow alone, and checks its output."""

import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

from experiments import cli

cli.select_backend()

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from fcn_keras.export import TOLERANCE, export_saved_model
from fcn_keras.inference import load_model


@dataclass(frozen=True, kw_only=True)
class Options(cli.Options):
    """Options of export."""

    model: Annotated[tyro.conf.Positional[Path], tyro.conf.arg(metavar="MODEL")]
    """The .keras file."""
    out: Path
    """Folder to write; an older SavedModel there is replaced."""
    input_size: tuple[int, int] | None = None
    """Height and width to fix. Left out, the SavedModel takes any."""


def main(options: Options) -> None:
    model = load_model(options.model)
    try:
        difference = export_saved_model(model, options.out, input_size=options.input_size)
    except RuntimeError as error:
        if options.debug:
            raise
        print(f"error: {error}", file=sys.stderr)
        sys.exit(1)
    height, width = options.input_size or ("any height", "any width")
    print(f"{options.out}: images (any batch, {height}, {width}, 3), RGB 0..255, to logits")
    print(
        f"Largest difference from the model, in TensorFlow alone: {difference:.1e} of the logits' "
        f"range (at most {TOLERANCE:.0e})"
    )


if __name__ == "__main__":
    cli.run(main, Options)
