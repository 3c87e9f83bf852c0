"""Photos of several sizes: memory, time, and what tiles and averaged windows change.

python -m experiments.study.tiling --models voc2012 fcn8s --sizes 480x480 1500x1000 6000x4000

The photo is the package's cat, enlarged. Each row is a process of its own. Photos of up to two
megapixels are run in one piece too, and in windows of 512 pixels whose logits are averaged, as
mmsegmentation's sliding inference does.
"""

from fcn_keras_cli import select_backend

select_backend()

import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from experiments.benchmark.report import Report
from experiments.benchmark.workers import apart, peak_megabytes
from fcn_keras.commands import cli
from fcn_keras.inference import Segmenter, bind

# Most pixels to run in one piece: these take 2 GB.
WHOLE = 2e6
WINDOW, STRIDE = 512, 341  # mmsegmentation's usual ones
# A second run is told where the first, which compiles, took less.
SECONDS = 60


@dataclass(frozen=True, kw_only=True)
class Options(cli.Options):
    """What is run, on what."""

    models: tuple[str, ...] = ("voc2012", "fcn8s")
    """Trained models, or fcn8s: an untrained one of full width."""
    sizes: tuple[str, ...] = ("480x480", "1500x1000", "4000x3000", "6000x4000")
    """Widths and heights."""


def main(options: Options) -> None:
    """Prints a row for each model and size."""
    rows = []
    for model in options.models:
        for size in options.sizes:
            width, height = map(int, size.split("x"))
            rows.append({"model": model, "photo": size} | apart(measure, model, width, height))
            cli.console().print(rows[-1])
            if 2**20 < width * height <= WHOLE:
                rows[-1] |= apart(compare, model, width, height)
    cli.console().print(Report("Photos of several sizes", rows).table())


def segmenter(name: str) -> Segmenter:
    """A trained model's, or an untrained one's, which sees photos at their own size."""
    import fcn_keras

    return Segmenter(fcn_keras.fcn8s(21) if name == "fcn8s" else name, max_side=0)


def photo(width: int, height: int) -> np.ndarray:
    """The cat of the package in that size."""
    from PIL import Image

    from fcn_keras.export.proof import PHOTOS

    return np.asarray(Image.open(PHOTOS[1]).resize((width, height), Image.Resampling.BICUBIC))


def measure(name: str, width: int, height: int) -> dict:
    """Time, and the most memory that the process ever held."""
    segment, image = segmenter(name), photo(width, height)
    seconds = run(segment, image)
    if seconds < SECONDS:
        seconds = run(segment, image)
    return {
        "GB": peak_megabytes() / 1000,
        "s": seconds,
        "s/MP": 1e6 * seconds / (width * height),
    }


def run(segment: Segmenter, image: np.ndarray) -> float:
    """Seconds."""
    start = time.perf_counter()
    segment(image)
    return time.perf_counter() - start


def compare(name: str, width: int, height: int) -> dict:
    """How far tiles and windows are from the photo in one piece, as shares of the logits' range."""
    segment, image = segmenter(name), photo(width, height)
    model = segment.model
    whole = bind(model, lambda images: model(images, training=False))
    expected = np.asarray(whole(image[None]))[0]
    found = {"tiles": segment.logits(image), "windows": windows(whole, image)}
    figures = {}
    for way, logits in found.items():
        figures[f"{way} differ"] = float(np.abs(logits - expected).max() / np.ptp(expected))
        changed = np.mean(logits.argmax(axis=-1) != expected.argmax(axis=-1))
        figures[f"{way} change"] = f"{changed:.2%}"
    return figures


def windows(predict: Callable, image: np.ndarray) -> np.ndarray:
    """The mean logits of the windows that cover each pixel."""
    places = [(top, left) for top in _starts(image.shape[0]) for left in _starts(image.shape[1])]
    parts = [np.s_[top : top + WINDOW, left : left + WINDOW] for top, left in places]
    logits = [np.asarray(predict(image[part][None]))[0] for part in parts]
    total, count = (
        np.zeros((*image.shape[:2], logits[0].shape[-1])),
        np.zeros((*image.shape[:2], 1)),
    )
    for part, found in zip(parts, logits, strict=True):
        total[part] += found
        count[part] += 1
    return total / count


def _starts(length: int) -> list[int]:
    """Where windows begin; the last one ends with the image."""
    last = max(0, length - WINDOW)
    return [*range(0, last, STRIDE), last]


if __name__ == "__main__":
    cli.run(main, Options, __doc__)
