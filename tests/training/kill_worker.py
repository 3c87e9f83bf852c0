"""Trains in a folder, or goes on there: ``python -m tests.training.kill_worker RUN EVENT WORKERS``.

At the event, such as "step 3" or "validating 2 of epoch 1", the process kills itself by SIGKILL.
"""

import contextlib
import os
import signal
import sys
from pathlib import Path

# albumentations imports torch where it is installed, which takes longer than this whole run.
sys.modules["torch"] = None
# Keras imports TensorFlow where it is installed, when it first saves a model: here, so that the
# time in which the run may be killed is the run's.
with contextlib.suppress(ImportError):
    import tensorflow  # noqa: F401

from fcn_keras.data.shapes import write_shapes  # noqa: E402
from fcn_keras.training import Reporter, TrainConfig, train  # noqa: E402
from tests.training.kill_matrix import EPOCH_STEPS, EPOCHS  # noqa: E402


class Kill(Reporter):
    def __init__(self, at: str):
        self.at = at
        self.current = 0

    def _event(self, text: str) -> None:
        if text == self.at:
            os.kill(os.getpid(), signal.SIGKILL)

    def training(self, epoch, step, last_step):
        self.current = epoch

    def step(self, step, loss, images):
        self._event(f"step {step}")

    def validating(self, done, total):
        self._event(f"validating {done} of epoch {self.current}")

    def epoch(self, row, scores, best):
        self._event(f"epoch {row['epoch']}")


def main(run: Path, kill_at: str, workers: int) -> None:
    data = run.parent / "data"
    write_shapes(data, train=2 * EPOCH_STEPS, val=4, size=48)
    config = TrainConfig(
        data_dir=data,
        backbone_width=2,
        head_width=4,
        dropout=0.5,
        batch_norm=True,
        crop_size=32,
        batch_size=2,
        epochs=EPOCHS,
        optimizer="adamw",
        learning_rate=0.02,
        ema_decay=0.9,
        bucket=64,
        checkpoint_steps=2,
        workers=workers,
    )
    train(config, run, resume=(run / "config.json").exists(), reporter=Kill(kill_at))


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2], int(sys.argv[3]))
