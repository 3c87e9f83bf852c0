"""Makes the model in the box: scores a trained one and writes the compact file that ships.

python -m experiments.study.box best.keras --dataset voc2012 --data-dir DIR --splits val val2008
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from fcn_keras.commands import cli

if TYPE_CHECKING:  # Keras takes seconds to import
    import keras

    from fcn_keras.data import Source
    from fcn_keras.evaluation import Scores


@dataclass(frozen=True, kw_only=True)
class Options(cli.DataOptions):
    """What is scored, and on what."""

    model: cli.Model
    splits: tuple[str, ...] = ("val",)
    """Each is scored, and all of them as one; the shipped file tells the latter's scores."""
    max_side: int | None = None
    """Longest side, in pixels, at which the model is to see photos; its own by default."""
    name: str | None = None
    """Name of the shipped model; the data set's by default."""


def main(options: Options) -> None:
    """Prints the scores of each form and split, then puts the file into the package."""
    from fcn_keras import cpu, pretrained
    from fcn_keras.data import open_dataset
    from fcn_keras.inference.precision import in_precision
    from fcn_keras.saving import annotate, describe, load_model, save_compact

    cpu.prepare()
    console = cli.console()
    union = "+".join(options.splits)
    splits = {
        split: open_dataset(options.dataset, options.data_dir, split)
        for split in dict.fromkeys((*options.splits, union))
    }
    model = in_precision(load_model(options.model), "float32")
    if options.max_side is not None:
        annotate(model, replace(describe(model), max_side=options.max_side))

    def forms() -> Iterator[tuple[str, keras.Model]]:
        yield "float32", model
        yield "bfloat16", in_precision(model, "bfloat16")
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder) / "model.safetensors"
            save_compact(model, file)
            console.print(f"compact: {file.stat().st_size / 1e6:.1f} MB")
            yield "8-bit kernels", load_model(file)

    reference: list[np.ndarray] = []
    for form, each in forms():
        scores, maps = score(each, splits[union], {s: set(splits[s].ids) for s in splits})
        reference = reference or maps
        changed = np.mean([np.mean(a != b) for a, b in zip(reference, maps, strict=True)])
        console.print(f"{form}: {100 * changed:.3f} % of a photo's pixels change class")
        for split, values in scores.items():
            figures = "  ".join(f"{key} {value:.4f}" for key, value in values.overall().items())
            console.print(f"  {split}, {len(splits[split])} images: {figures}", soft_wrap=True)
            console.print(f"    mean_iou over the truth's classes {_over_the_truth(values):.4f}")
        if form == "float32":
            console.print(f"  IoU of {' | '.join(scores)}")
            for index, name in enumerate(splits[union].classes.names):
                ious = "".join(f"{100 * values.iou[index]:7.1f}" for values in scores.values())
                console.print(f"    {name:14}{ious}")
    # The last scores are those of the form that ships.
    shipped = scores[union].overall()
    annotate(model, replace(describe(model), split=union, scores=shipped))
    path = pretrained.FOLDER / f"{options.name or options.dataset}-{model.name}.safetensors"
    save_compact(model, path)
    console.print(f"{path}: {path.stat().st_size / 1e6:.1f} MB")


def score(
    model: keras.Model, source: Source, splits: Mapping[str, set[str]]
) -> tuple[dict[str, Scores], list[np.ndarray]]:
    """The scores of each split, whose ids are given, and all class maps, from one pass."""
    from fcn_keras.evaluation import ConfusionMatrix, Evaluator

    matrices = {split: ConfusionMatrix(len(source.classes)) for split in splits}
    maps: dict[int, np.ndarray] = {}

    def observe(index: int, image: np.ndarray, mask: np.ndarray, found: np.ndarray, *_) -> None:
        maps[index] = found.astype(np.uint8)
        for split, ids in splits.items():
            if source.ids[index] in ids:
                matrices[split].update(mask, found)

    Evaluator(model).run(source, observe=observe)
    ordered = [maps[index] for index in range(len(source))]
    return {split: matrix.scores() for split, matrix in matrices.items()}, ordered


def _over_the_truth(scores: Scores) -> float:
    """Mean IoU without the classes that occur in predictions alone."""
    return float(np.mean(scores.iou[~np.isnan(scores.accuracy)]))


if __name__ == "__main__":
    cli.run(main, Options, __doc__)
