"""Scores exported files on a data set, each image at its own size, as the evaluator scores a model.

python -m experiments.study.exported float32.onnx int8.onnx --dataset voc2012 --data-dir DIR

An image is scaled down if the file's record says so (`max_side`), and the scores up again. A file
of one size, such as LiteRT's, gets each image in a corner of the mean colour.
"""

from fcn_keras_cli import select_backend

select_backend()

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import numpy as np
import tyro
from PIL import Image

from fcn_keras.commands import cli
from fcn_keras.data import Source, open_dataset
from fcn_keras.data.reduced import reduce_photo
from fcn_keras.errors import InputError
from fcn_keras.evaluation import ConfusionMatrix, Scores
from fcn_keras.export import FORMATS, serve
from fcn_keras.imagenet import MEAN_PIXEL
from fcn_keras.inference.large import in_bands
from fcn_keras.inference.rows import Array


@dataclass(frozen=True, kw_only=True)
class Options(cli.DataOptions):
    """What is scored, and on what."""

    files: Annotated[tuple[Path, ...], tyro.conf.Positional]
    """Files *.onnx, *.xml (OpenVINO), *.tflite (LiteRT) or *.stablehlo, each with its record."""
    split: str = "val"
    """The split to score on."""


def main(options: Options) -> None:
    """Prints a row for each file."""
    runs = {file: load(file) for file in options.files}
    source = open_dataset(options.dataset, options.data_dir, options.split)
    for file, run in runs.items():
        overall = score(run, source).overall()
        figures = "  ".join(f"{name} {value:.4f}" for name, value in overall.items())
        cli.console().print(f"{file.name}, {len(source)} images: {figures}", soft_wrap=True)


def load(file: Path) -> Callable[[np.ndarray], np.ndarray]:
    """What computes logits, probabilities or classes of images ``(B, H, W, 3)``, float32."""
    for kind in FORMATS.values():
        if file.suffix == kind.suffix != "" and kind.extern:
            record = Path(f"{file}.json")
            for path in (file, record):
                if not path.is_file():
                    raise InputError(f"{path} does not exist")
            run = serve.LOADERS[kind.writer](str(file))
            facts = json.loads(record.read_text())
            size = facts["input"]["shape"][1:3]
            run = run if None in size else framed(run, *size)
            return reduced(run, facts["model"].get("max_side", 0))
    raise InputError(f"{file} must be named *.onnx, *.xml, *.tflite or *.stablehlo")


def framed(
    run: Callable[[np.ndarray], np.ndarray], height: int, width: int
) -> Callable[[np.ndarray], np.ndarray]:
    """Takes smaller images too: at the top left of the mean colour, which is cut off the result.

    What the layers make of that colour spreads into the image, so its logits change a little.
    """

    def fit(images: np.ndarray) -> np.ndarray:
        batch, rows, columns, _ = images.shape
        if rows > height or columns > width:
            raise InputError(
                f"an image of {columns}x{rows} pixels is larger than the {width}x{height} that the "
                "file takes: export it with a larger `input_size`"
            )
        frame = np.full((batch, height, width, 3), MEAN_PIXEL, np.float32)
        frame[:, :rows, :columns] = images
        return run(frame)[:, :rows, :columns]

    return fit


def reduced(
    run: Callable[[np.ndarray], np.ndarray], max_side: int
) -> Callable[[np.ndarray], np.ndarray]:
    """Takes one image of any size, as `fcn_keras.Segmenter` does."""

    def fit(images: np.ndarray) -> np.ndarray:
        small = reduce_photo(images[0].astype(np.uint8), max_side)
        (output,) = run(small[None].astype(np.float32))
        size = images.shape[1:3]
        if output.ndim == 2:
            classes = Image.fromarray(output).resize(size[::-1], Image.Resampling.NEAREST)
            return np.asarray(classes)[None]
        return np.concatenate([band for _, band in in_bands(Array(output), size)])[None]

    return fit


def score(run: Callable[[np.ndarray], np.ndarray], source: Source) -> Scores:
    """The metrics on all of `source`."""
    confusion = ConfusionMatrix(len(source.classes.names))
    for index in range(len(source)):
        image, mask = source[index]
        (output,) = run(image[None].astype(np.float32))
        confusion.update(mask, output if output.ndim == 2 else output.argmax(axis=-1))
    return confusion.scores()


if __name__ == "__main__":
    cli.run(main, Options, __doc__)
