"""Trains in a folder, or goes on there, and kills its own process at an event by SIGKILL.

Events are those of the reporter, such as "step 3" or "validating 2 of epoch 1", and "change 17",
which is the moment before the process changes something in the run's folder for the 17th time.
"""

import itertools
import os
import signal
import sys
from pathlib import Path

os.environ["KERAS_BACKEND"] = "jax"
os.environ["JAX_PLATFORMS"] = "cpu"
os.environ["NO_ALBUMENTATIONS_UPDATE"] = "1"
# albumentations imports torch where it is installed, which takes longer than this whole run.
sys.modules["torch"] = None

# What a run imports on its way is imported here, so that the time in which a run may be killed is
# the run's.
import albumentations  # noqa: E402, F401
import grain  # noqa: E402, F401
import jax  # noqa: E402

from fcn_keras.training import Reporter, TrainConfig, train  # noqa: E402

CHANGES = ("open", "os.mkdir", "os.rename", "os.remove", "os.rmdir", "os.truncate")
WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT


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

    def watch_changes(self, run: Path) -> None:
        """Makes an event of each file that Python code creates, moves or removes in the folder."""
        numbers = itertools.count(1)

        def hook(event: str, args: tuple) -> None:
            if event not in CHANGES or (event == "open" and not (args[2] or 0) & WRITES):
                return
            # What rmtree removes is named from an open folder.
            if str(args[0]).startswith(str(run)) or (event != "open" and args[-1] != -1):
                number = next(numbers)
                print(f"change {number}: {event} {args[0]}", flush=True)
                self._event(f"change {number}")

        sys.addaudithook(hook)


def main(run: Path, kill_at: str, workers: int, epochs: int) -> None:
    """Trains in `run`, beside which lie its data, its output and the compiled programs."""
    output = os.open(run.parent / f"{run.name}.txt", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.dup2(output, 1)
    os.dup2(output, 2)
    jax.config.update("jax_compilation_cache_dir", str(run.parent / "jit"))
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)
    config = TrainConfig(
        data_dir=run.parent / "data",
        backbone_width=2,
        head_width=4,
        dropout=0.5,
        batch_norm=True,
        crop_size=32,
        batch_size=2,
        epochs=epochs,
        optimizer="adamw",
        learning_rate=0.02,
        ema_decay=0.9,
        bucket=64,
        checkpoint_steps=2,
        workers=workers,
    )
    reporter = Kill(kill_at)
    reporter.watch_changes(run)
    train(config, run, resume=(run / "config.json").exists(), reporter=reporter)
