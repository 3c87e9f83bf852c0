"""Scores a model on a data set, each image at its own size."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from fcn_keras.commands import cli
from fcn_keras.storage import replacing


@dataclass(frozen=True, kw_only=True)
class Options(cli.DataOptions):
    """Options of evaluation."""

    model: cli.Model
    split: str = "val"
    """Split to score."""
    json: Path | None = None
    """Write the scores to this file too."""
    precision: Literal["float32", "bfloat16"] | None = None
    """bfloat16 is quicker on accelerators and on CPUs that multiply it. Default: as trained."""
    batch_size: int = 1
    """Images that run together, once padded to one size."""
    bucket: int = 128
    """Pad heights and widths to multiples of this; 1 runs every size as it is, compiling each."""
    resize: int | None = None
    """Resize images and masks to this many pixels a side, as some tutorials do; to compare only."""
    flip: bool = False
    """Average the prediction with that of the mirror image."""
    scales: tuple[float, ...] = (1.0,)
    """Average the predictions over these scales of the image."""


def main(options: Options) -> None:
    """Scores the model and prints the table."""
    from fcn_keras import cpu
    from fcn_keras.commands.progress import bar, scores_table
    from fcn_keras.data import open_dataset
    from fcn_keras.evaluation import Evaluator
    from fcn_keras.inference.precision import in_precision
    from fcn_keras.saving import describe, load_model

    cpu.prepare()
    console = cli.console()
    if warning := cpu.slow_precision(options.precision):
        console.print(warning, soft_wrap=True)
    source = open_dataset(options.dataset, options.data_dir, options.split)
    model = load_model(options.model)
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
        flip=options.flip,
        scales=options.scales,
    )
    with bar(console, "images") as update:
        scores = evaluator.run(source, update)
    title = f"{options.model} on {options.dataset} {options.split}, {len(source)} images"
    console.print(scores_table(scores, source.classes, title))
    console.print(f"Cross-entropy {scores.loss:.4f}")
    if options.json:
        content = {
            "model": str(options.model),
            "dataset": options.dataset,
            "split": options.split,
            "images": len(source),
            **scores.to_dict(source.classes.names),
        }
        with replacing(options.json) as draft:
            draft.write_text(json.dumps(content, indent=2) + "\n")


def run() -> None:
    """The command."""
    cli.run(main, Options, __doc__)
