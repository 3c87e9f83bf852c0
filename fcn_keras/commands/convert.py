"""Converts torchvision's VGG16 into a `.weights.h5` that every FCN model takes.

    python tools/convert_torch_vgg.py vgg16-397923af.pth --out vgg16.weights.h5
    python tools/convert_torch_vgg.py --download --out vgg16.weights.h5
    python tools/convert_torch_vgg.py vgg16-397923af.pth --inspect

The 13 convolutions keep their names' order; the first two linear layers become fc6 (7x7) and
fc7 (1x1). Pass the result as `weights="vgg16.weights.h5"`, or to `fcn_keras.weights.load_weights`.
timm's and Keras' VGG16 convert as well. Torch isn't needed.
"""

import argparse
import sys
from pathlib import Path

from rich.progress import BarColumn, DownloadColumn, Progress, TimeRemainingColumn
from rich.progress import TransferSpeedColumn as SpeedColumn

from fcn_keras.errors import InputError
from fcn_keras.weights import convert, read_tensors
from fcn_keras.weights.published import URLS, check_hash, fetch_weights
from fcn_keras.weights.report import show, table


def parse(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("file", nargs="?", type=Path, help="the checkpoint (.pth, .safetensors)")
    parser.add_argument("--out", type=Path, help="the file to write, NAME.weights.h5")
    parser.add_argument("--inspect", action="store_true", help="print what the file holds")
    parser.add_argument(
        "--download", action="store_true", help="fetch the file into the cache, or use it there"
    )
    parser.add_argument(
        "--backbone", choices=URLS, default="vgg16", help="which of torchvision's VGGs to fetch"
    )
    parser.add_argument("--url", help="where --download fetches from instead")
    parser.add_argument(
        "--head-width", type=int, default=4096, help="leave out fc6 and fc7 of another width"
    )
    options = parser.parse_args(arguments)
    if (options.file is None) != options.download:
        parser.error("name a file, or give --download")
    if not (options.out or options.inspect or options.download):
        parser.error("give --out NAME.weights.h5, or --inspect")
    return options


def fetch(url: str) -> Path:
    columns = BarColumn(), DownloadColumn(), SpeedColumn(), TimeRemainingColumn()
    with Progress(*columns) as bar:
        task = bar.add_task(url, total=None)
        return fetch_weights(url, lambda n, total: bar.update(task, completed=n, total=total))


def convert_file(options: argparse.Namespace) -> None:
    path = fetch(options.url or URLS[options.backbone]) if options.download else options.file
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


def main(arguments: list[str] | None = None) -> int:
    options = parse(arguments)
    try:
        convert_file(options)
    except InputError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


def run() -> None:
    """The command."""
    sys.exit(main())
