"""Converts torchvision's VGG16 into a .weights.h5 that every FCN model takes.

The 13 convolutions keep their names' order; the first two linear layers become fc6 (7x7) and
fc7 (1x1). Pass the result as weights="vgg16.weights.h5", or to fcn_keras.weights.load_weights.
timm's and Keras' VGG16 convert as well. PyTorch isn't needed.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from fcn_keras.commands import cli
from fcn_keras.errors import InputError
from fcn_keras.models.names import Backbone


@dataclass(frozen=True, kw_only=True)
class Options(cli.Options):
    """Options of the conversion."""

    file: Annotated[tyro.conf.Positional[Path | None], tyro.conf.arg(metavar="FILE")] = None
    """The checkpoint (.pth, .safetensors, .h5)."""
    out: Path | None = None
    """The file to write, NAME.weights.h5."""
    inspect: bool = False
    """Print what the file holds."""
    download: bool = False
    """Download the file into the cache, unless it is there."""
    backbone: Backbone = "vgg16"
    """Which of torchvision's VGGs --download fetches."""
    url: str | None = None
    """Where --download fetches from instead."""
    head_width: int = 4096
    """Leave out fc6 and fc7 if their width differs."""


def main(options: Options) -> None:
    """Downloads, lists and converts a file, as the options say."""
    from fcn_keras.weights import convert, read_tensors
    from fcn_keras.weights.published import check_hash
    from fcn_keras.weights.report import show, table

    path = _source(options)
    if options.download:
        print(path)
    elif path.is_file() and not check_hash(path):
        print(f"{path}: no hash in its name, so it isn't checked")
    if options.inspect:
        tensors = read_tensors(path)
        rows = [(ascii(name)[1:-1], str(x.dtype), show(x.shape)) for name, x in tensors.items()]
        print("\n".join([f"{path}: {len(rows)} tensors", *table(rows)]))
    if options.out:
        print(convert(path, options.out, head_width=options.head_width))
        print(f"wrote {options.out}")


def _source(options: Options) -> Path:
    from fcn_keras.commands.progress import bar
    from fcn_keras.weights.published import URLS, fetch_weights

    if options.download:
        if options.file is not None:
            raise InputError(f"{options.file} is given along with --download: leave one out")
        url = options.url or URLS[options.backbone]
        with bar(cli.console(), url, transfer=True) as update:
            return fetch_weights(url, update)
    if options.file is None:
        raise InputError("no file is given: name a checkpoint, or add --download")
    if not (options.out or options.inspect):
        raise InputError(f"nothing to do: add --out NAME.weights.h5 or --inspect to {options.file}")
    return options.file


def run() -> None:
    """The command."""
    cli.run(main, Options, __doc__)
