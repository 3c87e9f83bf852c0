"""Segments photos and videos: class ids, and a blend of their colours over the photo, for each."""

from __future__ import annotations

import contextlib
import signal
import sys
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, cast

import tyro

from fcn_keras.commands import cli, photos
from fcn_keras.commands.photos import Item
from fcn_keras.errors import InputError
from fcn_keras.models.names import Precision
from fcn_keras_cli import fail

if TYPE_CHECKING:
    from rich.console import Console

    from fcn_keras.commands.outputs import Outputs
    from fcn_keras.data.classes import ClassTable
    from fcn_keras.inference import Segmentation, Segmenter

MODEL_SUFFIXES = (".keras", ".safetensors")
READERS = WRITERS = 2
READ_AHEAD = 4


@dataclass(frozen=True, kw_only=True)
class Options(cli.Options):
    """Options of prediction."""

    words: Annotated[
        tyro.conf.Positional[tuple[str, ...]], tyro.conf.arg(metavar="[MODEL] IMAGE...")
    ]
    """A .keras or compact .safetensors file (without one, the model that the package carries); then
    photos, folders with their subfolders, patterns, videos and http(s) addresses."""
    out: Path = Path("predictions")
    """Folder for NAME.png (class ids) and NAME_overlay.jpg, or NAME_overlay.mp4."""
    classes: Path | None = None
    """classes.txt with names and colours. Default: those that the model knows."""
    alpha: float = 0.4
    """Weight of the class colours in the blend."""
    format: Literal["png", "npy", "json", "coco"] = "png"
    """Class ids as NAME.png or NAME.npy, the classes' shares as NAME.json, or NAME.png and one
    annotations.json in COCO's format."""
    panel: bool = False
    """Write NAME_panel.jpg too: photo, blend and the classes found."""
    probabilities: bool = False
    """Write NAME_probabilities.npy too, float16 (height, width, classes)."""
    submission: Path | None = None
    """Write the class ids into this folder too, in the layout of PASCAL VOC's server."""
    flip: bool = False
    """Average the prediction with that of the mirror image."""
    scales: tuple[float, ...] = (1.0,)
    """Average the predictions over these scales of the photo."""
    precision: Precision | None = None
    """bfloat16 is quicker on accelerators and on CPUs that multiply it. Default: as trained."""
    batch_size: int = 1
    """Batch size: photos of one padded size that run together."""
    bucket: int = 128
    """Pad heights and widths to multiples of this; 1 runs every size as it is, compiling each."""
    shard: str | None = None
    """3/8 does the third of eight shares of the list, for as many machines."""
    overwrite: bool = False
    """Redo photos even if their results are newer than photo and model."""


def main(options: Options) -> None:
    """Segments the inputs, except those that an earlier run finished."""
    from fcn_keras import cpu
    from fcn_keras.commands.outputs import Outputs
    from fcn_keras.inference import Segmenter
    from fcn_keras.storage import locked

    console = cli.console()
    if warning := cpu.slow_precision(options.precision):
        console.print(warning, soft_wrap=True)
    model, words = split_model(options.words)
    items = list(photos.shard(photos.find(words, options.out), options.shard))
    segmenter = Segmenter(
        model,
        classes=_classes(options.classes),
        bucket=options.bucket,
        batch_size=options.batch_size,
        flip=options.flip,
        scales=options.scales,
        precision=options.precision,
    )
    if model not in map(Path, options.words):
        console.print(carried(segmenter.model), soft_wrap=True)
    outputs = Outputs(
        options.out,
        segmenter.classes,
        options.format,
        options.alpha,
        options.panel,
        options.probabilities,
        options.submission,
    )
    _check(options, segmenter)
    left = [i for i in items if options.overwrite or not outputs.finished(i, model)]
    # Shares of one list may write into one folder.
    lock = contextlib.nullcontext() if options.shard else locked(options.out, "--out")
    with lock:
        run = Run(segmenter, outputs, console)
        run(left)
        if options.format == "coco":
            ending = f"-{options.shard.replace('/', '-of-')}" if options.shard else ""
            outputs.write_coco(items, options.out / f"annotations{ending}.json")
    if len(left) < len(items):
        console.print(f"{len(items) - len(left)} were finished before; --overwrite does them again")
    for line in run.failed:
        print(f"error: {line}", file=sys.stderr)
    if run.failed:
        fail(f"{len(run.failed)} of {len(items)} could not be segmented", 1)


def split_model(words: Sequence[str]) -> tuple[Path, Sequence[str]]:
    """The model's file, and what to segment.

    Raises:
        InputError: the first word is no model, and the package carries none.
    """
    if words and words[0].endswith(MODEL_SUFFIXES):
        return Path(words[0]), words[1:]
    from fcn_keras import pretrained

    return pretrained.find(), words


def carried(model: Any) -> str:
    """A line about the model that the package carries."""
    from fcn_keras.saving import describe

    info = describe(model)
    score = info.scores.get("mean_iou")
    told = f", {100 * score:.1f} % mean IoU on {info.dataset} {info.split}" if score else ""
    return f"No model named: the package's own, of {len(info.classes)} classes{told}."


@contextlib.contextmanager
def _deferred_interrupt() -> Iterator[Callable[[], None]]:
    """Has Ctrl-C wait until the given function is called; a second one is raised at once.

    Raised anywhere, Python drops it where it can raise nothing, as in what a library calls back.
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


class Run:
    """Reads ahead, runs the model and writes behind it.

    Attributes:
        failed: A line for each photo that could not be done.
    """

    def __init__(self, segmenter: Segmenter, outputs: Outputs, console: Console):
        self.segmenter, self.outputs, self.console = segmenter, outputs, console
        self.failed: list[str] = []

    def __call__(self, items: Sequence[Item]) -> None:
        """Segments all `items`, and writes what was asked for."""
        from fcn_keras.commands.progress import bar

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
        from fcn_keras.inference.inputs import read_photo

        waiting: deque[tuple[Item, Future | None]] = deque()
        for item in items:
            future = None if item.is_video else readers.submit(read_photo, item.source)
            waiting.append((item, future))
            if len(waiting) > READ_AHEAD:
                yield waiting.popleft()
        yield from waiting

    def _batches(self, read: Iterator[tuple]) -> Iterator[list]:
        """Photos that were read, some together so that those of one size are among them."""
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
        except InputError:  # one by one, to name it
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
        """Waits until at most so many photos are still being written."""
        while len(self.writing) > most:
            _, future = self.writing.popleft()
            future.result()  # what can't be written ends the run

    def _video(self, item: Item) -> None:
        from fcn_keras.inference.video import overlay_video

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
        """A photo that can't be read or run is named at the end."""
        from fcn_keras.storage import SaveError

        try:
            yield
        except SaveError:
            raise
        except (InputError, OSError) as error:
            line = cli.describe(error)
            name = item.source_name
            self.failed.append(line if name in line else f"{name}: {line}")


def _classes(file: Path | None) -> ClassTable | None:
    if file is None:
        return None
    from fcn_keras.data.class_list import read_classes

    return read_classes(file)[0]


def _check(options: Options, segmenter: Segmenter) -> None:
    from fcn_keras.saving import describe

    if options.submission is not None and segmenter.num_classes != 21:
        raise InputError(
            f"submission={options.submission} needs a model of VOC's 21 classes, but this one has "
            f"{segmenter.num_classes}"
        )
    if options.classes is None and not describe(segmenter.model).named:
        cli.console().print(
            "The model doesn't know the names of its classes, so they are numbered; --classes FILE "
            "names them.",
            soft_wrap=True,
        )


def run() -> None:
    """The command."""
    cli.run(main, Options, __doc__)
