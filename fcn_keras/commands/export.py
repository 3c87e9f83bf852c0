"""Exports a model: as a SavedModel that needs TensorFlow alone, checked, or as a compact file."""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from fcn_keras.commands import cli
from fcn_keras.errors import InputError
from fcn_keras_cli import fail


@dataclass(frozen=True, kw_only=True)
class Options(cli.Options):
    """Options of export."""

    model: cli.Model
    out: Path
    """Folder of the SavedModel, or .safetensors file, to write; an older one is replaced."""
    format: Literal["saved_model", "compact"] = "saved_model"
    """What to write. A compact file holds 8-bit kernels, a quarter of the size; the commands and
    fcn_keras.load_model read it."""
    input_size: tuple[int, int] | None = None
    """Height and width that the SavedModel takes. Left out, any."""


def main(options: Options) -> None:
    """Writes the model in the format asked for."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    from fcn_keras.export import TOLERANCE, export_saved_model
    from fcn_keras.saving import load_model, save_compact

    if options.format == "compact" and options.input_size:
        raise InputError("--input-size is for a SavedModel: a compact model takes any size")
    model = load_model(options.model)
    if options.format == "compact":
        save_compact(model, options.out)
        print(f"{options.out}: {options.out.stat().st_size / 1e6:.1f} MB")
        return
    try:
        difference = export_saved_model(model, options.out, input_size=options.input_size)
    except RuntimeError as error:
        if options.debug:
            raise
        fail(str(error), 1)
    height, width = options.input_size or ("any height", "any width")
    print(f"{options.out}: images (any batch, {height}, {width}, 3), RGB 0..255, to logits")
    print(
        f"Largest difference from the model, in TensorFlow alone: {difference:.1e} of the logits' "
        f"range (at most {TOLERANCE:.0e})"
    )


def run() -> None:
    """The command."""
    cli.run(main, Options, __doc__)
