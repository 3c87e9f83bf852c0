"""TensorBoard's event files of a run: ``tensorboard --logdir runs``. Needs no TensorFlow."""

from __future__ import annotations

import os
import socket
import struct
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image
from tensorboardX import summary
from tensorboardX.proto.event_pb2 import Event, SessionLog
from tensorboardX.record_writer import masked_crc32c

from fcn_keras.evaluation import Scores
from fcn_keras.storage import reason
from fcn_keras.training import Reporter

FOLDER = "events"
LOSS_EVERY = 10  # steps
NOT_SCALARS = ("epoch", "step")


class EventFile:
    """One event file under ``workdir/events``, each event written as it comes.

    tensorboardX's ``SummaryWriter`` hands events to a thread, and waits for it forever once a full
    disk has killed it. Here `warn` is told of a failure to write, and later events are dropped.
    """

    def __init__(self, workdir: Path, warn: Callable[[str], None]):
        name = f"events.out.tfevents.{int(time.time())}.{socket.gethostname()}.{os.getpid()}"
        self.path, self.warn = workdir / FOLDER / name, warn
        self._failed = False
        self._write(Event(file_version="brain.Event:2"))

    def purge(self, step: int) -> None:
        """Withdraws what earlier files recorded for `step` and later."""
        self._write(Event(step=step, session_log=SessionLog(status=SessionLog.START)))

    def scalar(self, name: str, value: float, step: int) -> None:
        """Adds a number."""
        self._write(Event(step=step, summary=summary.scalar(name, value)))

    def image(self, name: str, pixels: np.ndarray, step: int) -> None:
        """Adds a picture, uint8 ``(H, W, 3)``."""
        self._write(Event(step=step, summary=summary.image(name, pixels, dataformats="HWC")))

    def _write(self, event: Event) -> None:
        if self._failed:
            return
        event.wall_time = time.time()
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with self.path.open("ab") as file:
                file.write(_record(event.SerializeToString()))
        except OSError as error:
            self._failed = True
            self.warn(
                f"Warning: event files can't be written to {self.path.parent} ({reason(error)}): "
                "TensorBoard will not show what follows."
            )


def _record(data: bytes) -> bytes:
    """The TFRecord framing: length, its checksum, the data, its checksum."""
    length = struct.pack("<Q", len(data))
    checks = [struct.pack("<I", masked_crc32c(part)) for part in (length, data)]
    return length + checks[0] + data + checks[1]


class EventReporter(Reporter):
    """Writes losses, scores, rates and times as scalars under ``workdir/events``.

    A resumed run withdraws what was recorded after its checkpoint.
    """

    def __init__(self, workdir: Path, warn: Callable[[str], None]):
        self.workdir, self.warn = workdir, warn
        self.file: EventFile | None = None

    def training(self, epoch: int, step: int, last_step: int) -> None:
        self._open(step + 1)

    def step(self, step: int, loss: float, images: int) -> None:
        if step % LOSS_EVERY == 0:
            self._open(step).scalar("step_loss", loss, step)

    def epoch(self, row: dict, scores: Scores, best: bool) -> None:
        file = self._open(row["step"])  # a resumed run begins with a validation that was still due
        for name, value in row.items():
            if name not in NOT_SCALARS:
                file.scalar(name, value, row["step"])

    def picture(self, path: Path, step: int) -> None:
        """Adds a PNG."""
        file = self._open(step + 1)
        with Image.open(path) as image:
            file.image(path.stem, np.asarray(image.convert("RGB")), step)

    def _open(self, step: int) -> EventFile:
        if self.file is None:
            self.file = EventFile(self.workdir, self.warn)
            self.file.purge(step)
        return self.file
