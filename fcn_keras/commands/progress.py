"""A bar for work that counts items or bytes."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator

from rich.console import Console
from rich.progress import (
    BarColumn,
    DownloadColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    Task,
    TextColumn,
    TimeRemainingColumn,
    TransferSpeedColumn,
)
from rich.text import Text


@contextlib.contextmanager
def bar(
    console: Console, description: str, *, transfer: bool = False
) -> Iterator[Callable[[int, int | None], None]]:
    """Yields ``update(done, total)``; with `transfer` they are bytes.

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
