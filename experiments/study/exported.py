"""Scores exported files on a data set, each image at its own size, as the evaluator scores a model.

python -m experiments.study.exported float32.onnx int8.onnx --dataset voc2012 --data-dir DIR
"""

from fcn_keras_cli import select_backend

select_backend()

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import numpy as np
import tyro

from fcn_keras.commands import cli
from fcn_keras.data import Source, open_dataset
from fcn_keras.errors import InputError
from fcn_keras.evaluation import ConfusionMatrix, Scores
from fcn_keras.export import FORMATS, serve


@dataclass(frozen=True, kw_only=True)
class Options(cli.DataOptions):
    """What is scored, and on what."""

    files: Annotated[tuple[Path, ...], tyro.conf.Positional]
    """Files *.onnx, *.xml (OpenVINO) or *.stablehlo that take images of any size."""
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
        if file.suffix == kind.suffix and kind.extern and kind.open_size:
            if not file.is_file():
                raise InputError(f"{file} does not exist")
            return serve.LOADERS[kind.writer](str(file))
    raise InputError(f"{file} must be named *.onnx, *.xml or *.stablehlo")


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
