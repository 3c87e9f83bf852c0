"""A table of training runs, and a picture of their curves."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro
from rich.table import Table

from fcn_keras.commands import cli
from fcn_keras.errors import InputError
from fcn_keras.storage import replacing
from fcn_keras.training.log import read_log

COLUMNS = (
    *("epoch", "step", "train_loss", "val_loss", "mean_iou"),
    *("train_seconds", "val_seconds", "images_per_second"),
)
CURVES = (("train_loss", "training loss"), ("val_loss", "validation loss"), ("mean_iou", "mIoU"))


@dataclass(frozen=True, kw_only=True)
class Options(cli.Options):
    """Options of the summary."""

    runs: Annotated[tuple[Path, ...], tyro.conf.Positional]
    """Run folders, or folders of runs, which stand for all runs in them."""
    out: Path = Path("summary.png")
    """Picture of the runs' curves."""


@dataclass(frozen=True)
class RunSummary:
    """A run folder as training wrote it."""

    path: Path
    record: dict
    rows: list[dict[str, float]]

    @property
    def best(self) -> dict[str, float]:
        """The row of the highest mean IoU."""
        return max(self.rows, key=lambda row: row["mean_iou"])


def main(options: Options) -> None:
    """Prints the table and draws the curves."""
    runs = [read(path) for given in options.runs for path in folders(given)]
    cli.console().print(table(sorted(runs, key=lambda run: -run.best["mean_iou"])))
    draw(runs, options.out)
    print(f"Curves: {options.out}")


def folders(path: Path) -> list[Path]:
    """`path` if it is a run, or the runs in it that have been validated."""
    if (path / "config.json").is_file():
        return [path]
    found = sorted(log.parent for log in path.glob("*/log.csv"))
    if not found:
        raise InputError(f"run {path} has no config.json and no run folders in it")
    return found


def read(path: Path) -> RunSummary:
    """Reads the settings and the log of one run."""
    try:
        record = json.loads((path / "config.json").read_text())
    except (OSError, ValueError) as error:
        raise InputError(f"run {path}: its config.json can't be read ({error})") from error
    return RunSummary(path, record, read_log(path / "log.csv", COLUMNS))


def table(runs: list[RunSummary]) -> Table:
    """One row per run, in the order given."""
    table = Table()
    for name in ("run", "recipe", "model"):
        table.add_column(name, overflow="fold")
    for name in ("best mIoU %", "at step", "of", "training", "images/s"):
        table.add_column(name, justify="right")
    for run in runs:
        last, best = run.rows[-1], run.best
        seconds = sum(row["train_seconds"] + row["val_seconds"] for row in run.rows)
        table.add_row(
            run.path.name,
            run.record.get("recipe") or "-",
            run.record["config"]["model"],
            f"{100 * best['mean_iou']:.2f}",
            f"{best['step']:.0f}",
            f"{last['step']:.0f}",
            duration(seconds),
            f"{last['images_per_second']:.1f}",
        )
    return table


def duration(seconds: float) -> str:
    """Hours, minutes and seconds, ``h:mm:ss``."""
    minutes, seconds = divmod(round(seconds), 60)
    return f"{minutes // 60}:{minutes % 60:02d}:{seconds:02d}"


def draw(runs: list[RunSummary], path: Path) -> None:
    """Losses and mIoU of all runs over their steps."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(12, 3.6), layout="constrained")
    for axis, (column, title) in zip(figure.subplots(1, len(CURVES)), CURVES, strict=True):
        for run in runs:
            steps, values = ([row[name] for row in run.rows] for name in ("step", column))
            axis.plot(steps, values, marker="." if len(steps) < 30 else "", label=run.path.name)
        axis.set(title=title, xlabel="step")
        axis.grid(alpha=0.3)
    axis.legend(fontsize="small")
    with replacing(path) as draft:
        figure.savefig(draft, dpi=120)


def run() -> None:
    """The command."""
    cli.run(main, Options, __doc__)
