"""TensorBoard's event files of a run: ``tensorboard --logdir runs``. Needs no TensorFlow."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image
from tensorboardX import SummaryWriter

from fcn_keras.evaluation import Scores
from fcn_keras.training import Reporter

FOLDER = "events"
LOSS_EVERY = 10  # steps
NOT_SCALARS = ("epoch", "step")


class EventReporter(Reporter):
    """Writes losses, scores, rates and times as scalars under ``workdir/events``.

    A resumed run takes back what came after its checkpoint.
    """

    def __init__(self, workdir: Path):
        self.folder = workdir / FOLDER
        self.writer: SummaryWriter | None = None

    def training(self, epoch: int, step: int, last_step: int) -> None:
        if self.writer is None:
            self.writer = SummaryWriter(str(self.folder), purge_step=step + 1)

    def step(self, step: int, loss: float, images: int) -> None:
        if step % LOSS_EVERY == 0:
            self.writer.add_scalar("step_loss", loss, step)

    def epoch(self, row: dict, scores: Scores, best: bool) -> None:
        if self.writer is None:  # a resumed run begins with the validation it still owed
            self.writer = SummaryWriter(str(self.folder), purge_step=row["step"])
        for name, value in row.items():
            if name not in NOT_SCALARS:
                self.writer.add_scalar(name, value, row["step"])
        self.writer.flush()


def add_picture(workdir: Path, picture: Path, step: int) -> None:
    """Adds a PNG to the event files."""
    with SummaryWriter(str(workdir / FOLDER)) as writer:
        image = np.asarray(Image.open(picture).convert("RGB"))
        writer.add_image(picture.stem, image, step, dataformats="HWC")
