"""What a training prints: a bar of its steps, and a line for each epoch."""

from __future__ import annotations

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskProgressColumn,
    TextColumn,
    TimeRemainingColumn,
)

from fcn_keras.evaluation import Scores
from fcn_keras.training import Reporter

LINE_EVERY = 20  # steps, where the output is not a terminal
EPOCH_LINE = (
    "epoch {epoch:3d}  step {step:6d}  train loss {train_loss:6.4f}  val loss {val_loss:6.4f}  "
    "pixel acc {pixel_accuracy:.4f}  mean acc {mean_accuracy:.4f}  mIoU {mean_iou:.4f}  "
    "{images_per_second:.1f} images/s  {val_seconds:.1f} s validation"
)


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
