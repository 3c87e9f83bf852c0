"""Tables of a study in Markdown, from the files that its runs left."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from experiments.study.plans import Run
from fcn_keras.commands.summarize import duration, read

METRICS = ("pixel_accuracy", "mean_accuracy", "mean_iou", "fw_iou")


def write_tables(plan: Sequence[Run], folder: Path, path: Path) -> None:
    """One row a score of every run that has a folder in `folder`, and the classes' IoU."""
    done = [run for run in plan if (folder / run.name / "log.csv").exists()]
    text = [scores_table(done, folder), *(classes_table(run, folder / run.name) for run in done)]
    path.write_text("\n".join(text))


def scores_table(runs: Sequence[Run], folder: Path) -> str:
    """Recipe, epochs, time and the four metrics, percent, of each score."""
    lines = [
        "| run | recipe, options | epochs | training | commit | scored on | pixel acc | mean acc | "
        "mIoU | f.w. IoU |",
        "| --- | --- | ---: | ---: | --- | --- | ---: | ---: | ---: | ---: |",
    ]
    for run in runs:
        log = read(folder / run.name)
        seconds = sum(row["train_seconds"] for row in log.rows)
        about = [
            run.name,
            " ".join((run.recipe, *run.options)),
            f"{log.rows[-1]['epoch']:.0f}",
            duration(seconds),
            (log.record["git"] or "-")[:7],
        ]
        for name, scores in _scores(folder / run.name).items():
            values = [f"{100 * scores[metric]:.1f}" for metric in METRICS]
            lines.append(f"| {' | '.join((*about, name, *values))} |")
            about = [""] * len(about)
    return "\n".join(lines) + "\n"


def classes_table(run: Run, folder: Path) -> str:
    """IoU of each class, percent; a column a score."""
    scores = _scores(folder)
    names = list(scores)
    lines = [f"| {run.name} | {' | '.join(names)} |", f"| --- |{' ---: |' * len(names)}"]
    for label in scores[names[0]]["iou"]:
        values = (scores[name]["iou"][label] for name in names)
        shown = ("-" if value is None else f"{100 * value:.1f}" for value in values)
        lines.append(f"| {label} | {' | '.join(shown)} |")
    return "\n".join(lines) + "\n"


def _scores(folder: Path) -> dict[str, dict]:
    """The scores of a run by the name of their evaluation."""
    files = sorted(folder.glob("scores-*.json"), key=lambda path: (len(path.stem), path.stem))
    return {path.stem.removeprefix("scores-"): json.loads(path.read_text()) for path in files}
