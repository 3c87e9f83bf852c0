"""Makes the model in the box: scores a trained one and writes the compact file that ships.

python -m experiments.study.box best.keras --dataset voc2012 --data-dir DIR --splits val val2008
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from fcn_keras.commands import cli


@dataclass(frozen=True, kw_only=True)
class Options(cli.DataOptions):
    """What is scored, and on what."""

    model: cli.Model
    splits: tuple[str, ...] = ("val",)
    """Each is scored, and all of them as one; the shipped file tells the latter's scores."""
    name: str | None = None
    """Name of the shipped model; the data set's by default."""


def main(options: Options) -> None:
    """Prints a row for each form and split, then puts the file into the package."""
    from fcn_keras import cpu, pretrained
    from fcn_keras.data import open_dataset
    from fcn_keras.evaluation import Evaluator
    from fcn_keras.inference.precision import in_precision
    from fcn_keras.saving import annotate, describe, load_model, save_compact

    cpu.prepare()
    console = cli.console()
    union = "+".join(options.splits)
    model = in_precision(load_model(options.model), "float32")

    def forms() -> Iterator[tuple]:
        yield "float32", model, dict.fromkeys([*options.splits, union])
        yield "bfloat16", in_precision(model, "bfloat16"), [union]
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder) / "model.safetensors"
            save_compact(model, file)
            console.print(f"compact: {file.stat().st_size / 1e6:.1f} MB")
            yield "8-bit kernels", load_model(file), [union]

    for form, each, splits in forms():
        evaluator = Evaluator(each)
        for split in splits:
            source = open_dataset(options.dataset, options.data_dir, split)
            scores = evaluator.run(source)
            figures = "  ".join(f"{key} {value:.4f}" for key, value in scores.overall().items())
            console.print(f"{form}, {split}, {len(source)} images: {figures}", soft_wrap=True)
            if form == "float32" and split == union:
                for name, iou in zip(source.classes.names, scores.iou, strict=True):
                    console.print(f"  {name:14} {100 * iou:5.1f}")
    # The last scores are those of the form that ships.
    annotate(model, replace(describe(model), split=union, scores=scores.overall()))
    path = pretrained.FOLDER / f"{options.name or options.dataset}-{model.name}.safetensors"
    save_compact(model, path)
    console.print(f"{path}: {path.stat().st_size / 1e6:.1f} MB")


if __name__ == "__main__":
    cli.run(main, Options, __doc__)
