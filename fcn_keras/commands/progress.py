"""What commands show while they work: bars, a line per epoch, a table of classes."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable, Iterator

from rich.console import Console
from rich.progress import (
    BarColumn,
    DownloadColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    Task,
    TaskProgressColumn,
    TextColumn,
    TimeRemainingColumn,
    TransferSpeedColumn,
)
from rich.table import Table
from rich.text import Text

from fcn_keras.data.classes import ClassTable
from fcn_keras.evaluation import Scores
from fcn_keras.training import Reporter

LINE_EVERY = 20  # steps, where the output is not a terminal
EPOCH_LINE = (
    "epoch {epoch:3d}  step {step:6d}  train loss {train_loss:6.4f}  val loss {val_loss:6.4f}  "
    "pixel acc {pixel_accuracy:.4f}  mean acc {mean_accuracy:.4f}  mIoU {mean_iou:.4f}  "
    "{images_per_second:.1f} images/s  {val_seconds:.1f} s validation"
)


@contextlib.contextmanager
def bar(
    console: Console, description: str, *, transfer: bool = False
) -> Iterator[Callable[[int, int | None], None]]:
    """Gives ``update(done, total)``; with `transfer` they are bytes.

    Shows nothing where the output is not a terminal.
    """
    columns = (
        (DownloadColumn(), TransferSpeedColumn()) if transfer else (MofNCompleteColumn(), _Rate())
    )
    text = TextColumn("{task.description}", markup=False)
    columns = (text, BarColumn(), *columns, TimeRemainingColumn())
    with Progress(*columns, console=console, disable=not console.is_terminal) as progress:
        task = progress.add_task(description, total=None)
        yield lambda done, total: progress.update(task, completed=done, total=total)


class _Rate(ProgressColumn):
    """Items per second."""

    def render(self, task: Task) -> Text:
        return Text(f"{task.speed:.1f}/s" if task.speed else "")


class ConsoleReporter(Reporter):
    """Prints events; the bar is left out where the output is not a terminal."""

    def __init__(self, console: Console, epochs: int):
        self.console = console
        self.epochs = epochs
        self.best: tuple[dict, Scores] | None = None
        self.bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TaskProgressColumn(show_speed=True),
            TextColumn("{task.fields[status]}"),
            TimeRemainingColumn(),
            console=console,
            disable=not console.is_terminal,
        )
        self.task = self.bar.add_task("", total=None, status="")

    def __enter__(self) -> ConsoleReporter:
        self.bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.bar.stop()

    def message(self, text: str) -> None:
        self.console.print(text, soft_wrap=True)

    def training(self, epoch: int, step: int, last_step: int) -> None:
        self.first_step = step
        description = f"epoch {epoch}/{self.epochs}"
        self.bar.reset(self.task, description=description, total=last_step - step, status="")

    def step(self, step: int, loss: float, images: int) -> None:
        if not self.console.is_terminal and (step % LINE_EVERY == 0 or step == 1):
            self.console.print(f"step {step:6d}  loss {loss:.4f}")
        done = step - self.first_step
        task = self.bar.tasks[0]
        rate = f"{task.speed * images:.1f} images/s" if task.speed else ""
        self.bar.update(self.task, completed=done, status=f"loss {loss:.4f}  {rate}")

    def validating(self, done: int, total: int) -> None:
        if not done:
            self.bar.reset(self.task, description="validation", total=total, status="")
        self.bar.update(self.task, completed=done)

    def epoch(self, row: dict, scores: Scores, best: bool) -> None:
        mark = "  best" if best else ""
        self.console.print(EPOCH_LINE.format(**row) + mark, soft_wrap=True)
        if best:
            self.best = row, scores


def scores_table(scores: Scores, classes: ClassTable, title: str) -> Table:
    """The four metrics, then each class's IoU and accuracy, in percent; absent classes as "-"."""

    def percent(value: float) -> str:
        return "-" if math.isnan(value) else f"{100 * value:.2f}"

    table = Table(title=title)
    table.add_column("class")
    table.add_column("IoU %", justify="right")
    table.add_column("accuracy %", justify="right")
    for name, iou, accuracy in zip(classes.names, scores.iou, scores.accuracy, strict=True):
        table.add_row(name, percent(iou), percent(accuracy))
    table.add_section()
    table.add_row("mean", percent(scores.mean_iou), percent(scores.mean_accuracy))
    table.add_row("frequency weighted", percent(scores.fw_iou), "")
    table.add_row("pixels", "", percent(scores.pixel_accuracy))
    return table
