"""Segments photos and videos: class ids, and a blend of their colours over the photo, for each."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import tyro

from fcn_keras.commands import cli, photos
from fcn_keras.errors import InputError
from fcn_keras.models.names import Precision
from fcn_keras_cli import fail

if TYPE_CHECKING:
    from fcn_keras.data.classes import ClassTable
    from fcn_keras.inference import Segmenter

MODEL_SUFFIXES = (".keras", ".safetensors")


@dataclass(frozen=True, kw_only=True)
class Options(cli.Options):
    """Options of prediction."""

    words: Annotated[
        tyro.conf.Positional[tuple[str, ...]], tyro.conf.arg(metavar="[MODEL] IMAGE...")
    ]
    """A .keras or compact .safetensors file, or voc2012, the default, which ships with the package;
    then photos, folders (subfolders included), patterns, videos and http(s) addresses."""
    out: Path = Path("predictions")
    """Folder for NAME.png (class ids) and NAME_overlay.jpg, or NAME_overlay.mp4."""
    classes: Path | None = None
    """classes.txt with names and colours. Default: those stored in the model."""
    alpha: float = 0.4
    """Weight of the class colours in the blend."""
    format: Literal["png", "npy", "json", "coco"] = "png"
    """Class ids as NAME.png or NAME.npy, the classes' shares as NAME.json, or NAME.png and one
    annotations.json in COCO's format."""
    panel: bool = False
    """Write NAME_panel.jpg too: photo, blend and the classes found."""
    probabilities: bool = False
    """Write NAME_probabilities.npy too, float16 (height, width, classes)."""
    submission: Path | None = None
    """Write the class ids into this folder too, in the layout of PASCAL VOC's server."""
    max_side: int | None = None
    """Scale larger photos down until their longer side has this many pixels, and the result up
    again; 0 leaves them as they are. Default: as the model was trained."""
    flip: bool = False
    """Average the prediction with that of the mirror image."""
    scales: tuple[float, ...] = (1.0,)
    """Average the predictions over these scales of the photo."""
    precision: Precision | None = None
    """bfloat16 is faster on accelerators and on CPUs that multiply it. Default: as trained."""
    batch_size: int = 1
    """Batch size: photos that run together if they are padded to the same size."""
    bucket: int = 128
    """Pad heights and widths to multiples of this; 1 runs every size as it is, compiling each."""
    shard: str | None = None
    """Do one share of the list: 3/8 is the third of eight, for as many machines."""
    overwrite: bool = False
    """Redo photos even if their results are newer than photo and model."""


def main(options: Options) -> None:
    """Segments the inputs, except those that an earlier run finished."""
    from fcn_keras import cpu
    from fcn_keras.commands.outputs import Outputs
    from fcn_keras.commands.prediction_run import PredictionRun
    from fcn_keras.inference import Segmenter
    from fcn_keras.storage import locked

    console = cli.console()
    if warning := cpu.slow_precision(options.precision):
        console.print(warning, soft_wrap=True)
    model, words = split_model(options.words)
    items = list(photos.shard(photos.find(words, options.out), options.shard))
    segmenter = Segmenter(
        model,
        classes=_classes(options.classes),
        bucket=options.bucket,
        batch_size=options.batch_size,
        max_side=options.max_side,
        flip=options.flip,
        scales=options.scales,
        precision=options.precision,
    )
    if words is options.words:
        console.print(carried(segmenter.model), soft_wrap=True)
    outputs = Outputs(
        options.out,
        segmenter.classes,
        options.format,
        options.alpha,
        options.panel,
        options.probabilities,
        options.submission,
    )
    _check(options, segmenter)
    left = [i for i in items if options.overwrite or not outputs.finished(i, model)]
    # Shares of one list may write into one folder.
    lock = contextlib.nullcontext() if options.shard else locked(options.out, "--out")
    with lock:
        run = PredictionRun(segmenter, outputs, console)
        run(left)
        if options.format == "coco":
            ending = f"-{options.shard.replace('/', '-of-')}" if options.shard else ""
            outputs.write_coco(items, options.out / f"annotations{ending}.json")
    if len(left) < len(items):
        console.print(f"{len(items) - len(left)} were finished before; --overwrite redoes them")
    for line in run.failed:
        print(f"error: {line}", file=sys.stderr)
    if run.failed:
        fail(f"{len(run.failed)} of {len(items)} could not be segmented", 1)


def split_model(words: Sequence[str]) -> tuple[Path, Sequence[str]]:
    """The model's file, and what to segment.

    Raises:
        InputError: the first word isn't a model, and none ships with the package.
    """
    if words and words[0].endswith(MODEL_SUFFIXES):
        return Path(words[0]), words[1:]
    from fcn_keras import pretrained

    if words and words[0] in pretrained.names("fcn8s") and not Path(words[0]).exists():
        return pretrained.find(words[0]), words[1:]
    return pretrained.find(), words


def carried(model: Any) -> str:
    """A line about the model that ships with the package."""
    from fcn_keras.saving import describe

    info = describe(model)
    score = info.scores.get("mean_iou")
    told = f", {100 * score:.1f} % mean IoU on {info.dataset} {info.split}" if score else ""
    return f"No model named: using the package's own, with {len(info.classes)} classes{told}."


def _classes(file: Path | None) -> ClassTable | None:
    if file is None:
        return None
    from fcn_keras.data.class_list import read_classes

    return read_classes(file)[0]


def _check(options: Options, segmenter: Segmenter) -> None:
    from fcn_keras.saving import describe

    if options.submission is not None and segmenter.num_classes != 21:
        raise InputError(
            f"submission={options.submission} needs a model of VOC's 21 classes, but this one has "
            f"{segmenter.num_classes}"
        )
    if options.classes is None and not describe(segmenter.model).named:
        cli.console().print(
            "The model doesn't know the names of its classes, so they are numbered; --classes FILE "
            "names them.",
            soft_wrap=True,
        )


def run() -> None:
    """The command."""
    cli.run(main, Options, __doc__)
