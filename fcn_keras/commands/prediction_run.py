"""A prediction run: reads photos ahead, segments them, and writes in the background."""

from __future__ import annotations

import contextlib
import signal
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any, cast

from rich.console import Console

from fcn_keras.commands import cli
from fcn_keras.commands.outputs import Outputs
from fcn_keras.commands.photos import Item
from fcn_keras.commands.progress import bar
from fcn_keras.errors import InputError
from fcn_keras.inference import Segmentation, Segmenter
from fcn_keras.inference.inputs import read_photo
from fcn_keras.inference.video import overlay_video
from fcn_keras.storage import SaveError

READERS = WRITERS = 2
READ_AHEAD = 4


@contextlib.contextmanager
def _deferred_interrupt() -> Iterator[Callable[[], None]]:
    """Makes Ctrl-C wait until the given function is called; a second one is raised at once.

    Python would drop the exception inside a destructor or a library's callback.
    """
    asked = False

    def remember(*_: object) -> None:
        nonlocal asked
        if asked:
            raise KeyboardInterrupt
        asked = True

    def check() -> None:
        if asked:
            raise KeyboardInterrupt

    before = signal.signal(signal.SIGINT, remember)
    try:
        yield check
    finally:
        signal.signal(signal.SIGINT, before)


class PredictionRun:
    """Reads ahead, runs the model, and writes in the background; Ctrl-C stops it.

    Attributes:
        failed: A line for each photo that failed.
    """

    def __init__(self, segmenter: Segmenter, outputs: Outputs, console: Console):
        self.segmenter, self.outputs, self.console = segmenter, outputs, console
        self.failed: list[str] = []

    def __call__(self, items: Sequence[Item]) -> None:
        """Segments all `items`, and writes what was asked for."""
        start, done = time.perf_counter(), 0
        with (
            _deferred_interrupt() as self.check,
            bar(self.console, "photos") as update,
            contextlib.ExitStack() as stack,
        ):
            readers, self.writers = (ThreadPoolExecutor(count) for count in (READERS, WRITERS))
            for pool in (self.writers, readers):
                stack.callback(pool.shutdown, cancel_futures=True)
            self.writing: deque[tuple[Item, Future]] = deque()
            for batch in self._batches(self._read(readers, items)):
                self.check()
                self._segment(batch)
                done += len(batch)
                update(done, len(items))
            self._settle(0)
        seconds = time.perf_counter() - start
        count = len(items) - len(self.failed)
        rate = f", {count / seconds:.1f} a second" if count else ""
        self.console.print(
            f"{count} photos segmented into {self.outputs.out}{rate}", soft_wrap=True
        )

    def _read(self, readers: ThreadPoolExecutor, items: Sequence[Item]) -> Iterator[tuple]:
        waiting: deque[tuple[Item, Future | None]] = deque()
        for item in items:
            future = None if item.is_video else readers.submit(read_photo, item.source)
            waiting.append((item, future))
            if len(waiting) > READ_AHEAD:
                yield waiting.popleft()
        yield from waiting

    def _batches(self, read: Iterator[tuple]) -> Iterator[list]:
        """Lists of photos that were read, long enough for some to have the same size."""
        size = 4 * self.segmenter.batch_size if self.segmenter.batch_size > 1 else 1
        batch = []
        for item, future in read:
            image = None
            with self._noting(item):
                image = future and future.result()
            batch.append((item, image))
            if len(batch) == size:
                yield batch
                batch = []
        if batch:
            yield batch

    def _segment(self, batch: list) -> None:
        for item, _ in batch:
            if item.is_video:
                self._video(item)
        photos = [(item, image) for item, image in batch if image is not None]
        try:
            found = cast(
                "list[Segmentation]", self.segmenter.segment([image for _, image in photos])
            )
        except InputError:  # one by one, to find the one that fails
            for item, image in photos:
                with self._noting(item):
                    self._write(item, self.segmenter.segment(image))
            return
        for (item, _), segmentation in zip(photos, found, strict=True):
            self._write(item, segmentation)

    def _write(self, item: Item, segmentation: Any) -> None:
        if self.outputs.probabilities:
            _ = segmentation.probabilities  # here, not in a thread that writes
        self.writing.append((item, self.writers.submit(self.outputs.write, item, segmentation)))
        self._settle(2 * WRITERS)

    def _settle(self, most: int) -> None:
        """Waits until at most `most` photos are still being written."""
        while len(self.writing) > most:
            _, future = self.writing.popleft()
            future.result()  # a result that can't be written ends the run

    def _video(self, item: Item) -> None:
        (target,) = self.outputs.files(item)
        target.parent.mkdir(parents=True, exist_ok=True)
        with self._noting(item):
            overlay_video(
                self.segmenter,
                Path(item.source),
                target,
                alpha=self.outputs.alpha,
                progress=lambda done, total: self.check(),
            )

    @contextlib.contextmanager
    def _noting(self, item: Item) -> Iterator[None]:
        """Notes a photo that can't be read or run, to name it at the end."""
        try:
            yield
        except SaveError:
            raise
        except (InputError, OSError) as error:
            line = cli.describe(error)
            name = item.source_name
            self.failed.append(line if name in line else f"{name}: {line}")
