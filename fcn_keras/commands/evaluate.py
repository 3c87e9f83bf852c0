"""Scores a model, or several, on a data set, each image at its own size."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import tyro

from fcn_keras.commands import cli
from fcn_keras.errors import InputError
from fcn_keras.models.names import Precision
from fcn_keras.storage import replacing

if TYPE_CHECKING:
    from rich.console import Console

    from fcn_keras.data import Source
    from fcn_keras.evaluation import Evaluated


@dataclass(frozen=True, kw_only=True)
class Options(cli.DataOptions):
    """Options of evaluation."""

    model: Annotated[tyro.conf.Positional[tuple[Path, ...]], tyro.conf.arg(metavar="MODEL")]
    """A .keras or compact .safetensors file, or voc2012, which ships with the package. Several are
    compared."""
    split: str = "val"
    """Split to score."""
    json: Path | None = None
    """Write the scores to this file too."""
    report: Path | None = None
    """Write a page to this folder: index.html with charts and images."""
    precision: Precision | None = None
    """bfloat16 is faster on accelerators and on CPUs that multiply it. Default: as trained."""
    batch_size: int = 1
    """Images that run together if they are padded to the same size."""
    bucket: int = 128
    """Pad heights and widths to multiples of this; 1 runs every size as it is, compiling each."""
    max_side: int | None = None
    """Scale larger images down until their longer side has this many pixels, and the result up
    again; 0 leaves them as they are. Default: as the model was trained."""
    resize: int | None = None
    """Resize images and masks to this many pixels a side, for comparison with tutorials that do."""
    flip: bool = False
    """Average the prediction with that of the mirror image."""
    scales: tuple[float, ...] = (1.0,)
    """Average the predictions over these scales of the image."""


def main(options: Options) -> None:
    """Scores the models and prints their tables."""
    from fcn_keras import cpu
    from fcn_keras.data import open_dataset
    from fcn_keras.evaluation import write_report

    if not options.model:
        raise InputError("no model to score; name a .keras file")
    cpu.prepare()
    console = cli.console()
    if warning := cpu.slow_precision(options.precision):
        console.print(warning, soft_wrap=True)
    source = open_dataset(options.dataset, options.data_dir, options.split)
    names = _names(options.model)
    evaluated = [
        _evaluate(options, path, name, source, console)
        for path, name in zip(options.model, names, strict=True)
    ]
    if options.json:
        records = [
            {
                "model": str(path),
                "dataset": options.dataset,
                "split": options.split,
                "images": len(source),
                **one.scores.to_dict(source.classes.names),
            }
            for path, one in zip(options.model, evaluated, strict=True)
        ]
        content = records if len(records) > 1 else records[0]
        with replacing(options.json) as draft:
            draft.write_text(json.dumps(content, indent=2) + "\n")
    if options.report:
        title = f"{' and '.join(names)} on {options.dataset} {options.split}"
        page = write_report(options.report, source, evaluated, f"{title}, {len(source)} images")
        console.print(f"wrote {page}", soft_wrap=True)


def _names(paths: tuple[Path, ...]) -> list[str]:
    """The files' names without extension, with their folders where names repeat."""
    names = [path.stem for path in paths]
    if len(set(names)) == len(names):
        return names
    return [str(path) for path in paths]


def _evaluate(
    options: Options, path: Path, name: str, source: Source, console: Console
) -> Evaluated:
    """Scores one model and prints its table."""
    from fcn_keras.commands.progress import bar
    from fcn_keras.commands.tables import scores_table
    from fcn_keras.evaluation import Details, Evaluated, Evaluator
    from fcn_keras.inference.precision import in_precision
    from fcn_keras.pretrained import load_model
    from fcn_keras.saving import describe

    model = load_model(path)
    if options.precision is not None:
        model = in_precision(model, options.precision)
    known = describe(model)
    if known.named and known.classes.names != source.classes.names:
        console.print(
            f"Warning: the model was trained on the classes of {known.classes.name}, which aren't "
            f"those of {options.dataset}; they are compared by their numbers.",
            soft_wrap=True,
        )
    evaluator = Evaluator(
        model,
        batch_size=options.batch_size,
        bucket=options.bucket,
        squash=options.resize,
        max_side=options.max_side,
        flip=options.flip,
        scales=options.scales,
    )
    details = Details(len(source.classes))
    with bar(console, "images") as update:
        scores = evaluator.run(source, update, observe=details if options.report else None)
    title = f"{path} on {options.dataset} {options.split}, {len(source)} images"
    console.print(scores_table(scores, source.classes, title))
    console.print(f"Cross-entropy {scores.loss:.4f}")
    return Evaluated(name, evaluator, scores, details)


def run() -> None:
    """The command."""
    cli.run(main, Options, __doc__)
