"""Photos a second of `fcn-keras predict` beside those of a plain loop, which writes the same files.

python -m experiments.study.throughput photos/ --count 500

Both use one `Segmenter` in one process and take turns, so that a busy machine slows both down.
Each shape is compiled before.
"""

from fcn_keras_cli import select_backend

select_backend()

import statistics
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import numpy as np
import tyro
from PIL import Image

from fcn_keras.commands import cli, photos
from fcn_keras.commands.outputs import Outputs
from fcn_keras.commands.prediction_run import PredictionRun
from fcn_keras.inference import Segmenter


@dataclass(frozen=True, kw_only=True)
class Options(cli.Options):
    """What is segmented, and how."""

    words: Annotated[tyro.conf.Positional[tuple[str, ...]], tyro.conf.arg(metavar="PHOTO...")]
    """Photos, folders and patterns."""
    model: str = "voc2012"
    """A file, or a trained model of the package."""
    count: int = 500
    """The first so many photos are taken."""
    turn: int = 25
    """Photos of each turn."""


def main(options: Options) -> None:
    """Prints the rates, and how many programs were compiled."""
    segmenter = Segmenter(options.model)
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder)
        items = photos.find(options.words, out)[: options.count]
        compile_all(segmenter, items)
        run = PredictionRun(
            segmenter, Outputs(out / "predict", segmenter.classes), cli.console(quiet=True)
        )
        ways = {"predict": run, "loop": lambda turn: loop(segmenter, turn, out / "loop")}
        seconds: dict[str, list[float]] = {way: [] for way in ways}
        for first in range(0, len(items), options.turn):
            for way, segment in ways.items():
                start = time.perf_counter()
                segment(items[first : first + options.turn])
                seconds[way].append(time.perf_counter() - start)
    for way, each in seconds.items():
        cli.console().print(f"{way}: {len(items) / sum(each):.2f} photos a second")
    ratios = [b / a for a, b in zip(*seconds.values(), strict=True)]
    cli.console().print(
        f"predict is {statistics.median(ratios):.2f} times as fast, the median of {len(ratios)} "
        f"turns of {min(ratios):.2f} to {max(ratios):.2f}; {segmenter.compiles} programs compiled",
        soft_wrap=True,
    )


def compile_all(segmenter: Segmenter, items: Sequence[photos.Item]) -> None:
    """Runs one photo of each padded size."""
    sizes = set()
    for item in items:
        with Image.open(item.source) as photo:
            sizes.add(tuple(side + -side % segmenter.bucket for side in photo.size))
    for width, height in sizes:
        segmenter.segment(np.zeros((height, width, 3), np.uint8))


def loop(segmenter: Segmenter, items: Sequence[photos.Item], folder: Path) -> None:
    """Opens, segments and saves one photo after the other."""
    folder.mkdir(exist_ok=True)
    for item in items:
        found = segmenter.segment(Image.open(item.source))
        Image.fromarray(found.mask).save(folder / f"{item.name.name}.png")
        Image.fromarray(found.overlay(0.4)).save(folder / f"{item.name.name}_overlay.jpg")


if __name__ == "__main__":
    cli.run(main, Options, __doc__)
