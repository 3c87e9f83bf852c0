"""The training run: epochs of steps, validation, checkpoints, the best model."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from fcn_keras.data import open_dataset, steps_per_epoch
from fcn_keras.evaluation import Evaluator, Scores
from fcn_keras.training.checkpoint import Checkpoints, Progress
from fcn_keras.training.config import TrainConfig
from fcn_keras.training.optimizer import make_optimizer, make_schedule
from fcn_keras.training.reporter import Reporter
from fcn_keras.training.run_folder import RunFolder
from fcn_keras.training.setup import Devices, First, build_model
from fcn_keras.training.step import State, init_state, make_step, write_back


class DivergedError(RuntimeError):
    """The loss became NaN or infinite."""


@dataclass(frozen=True)
class Result:
    """What a run ends with: its folder, the steps taken, the best mean IoU on validation."""

    folder: RunFolder
    steps: int
    best_mean_iou: float


def train(
    config: TrainConfig, workdir: Path, *, resume: bool = False, reporter: Reporter | None = None
) -> Result:
    """Trains as `config` says and leaves everything in `workdir`.

    Args:
        config: All settings.
        workdir: Folder of the run: a new one, or with `resume` one that holds a run.
        resume: Go on from the newest checkpoint, to the same weights as without a break.
        reporter: Receives the run's events.

    Raises:
        InputError: an option, a file of the data set or the weights can't be used.
        DivergedError: the loss is not finite any more. Checkpoints and best model stay.
    """
    folder = RunFolder(workdir)
    folder.check(config, resume)
    run = _Run(config, folder, reporter or Reporter())
    folder.start(config)
    return run()


class _Run:
    def __init__(self, config: TrainConfig, folder: RunFolder, reporter: Reporter):
        self.config, self.folder, self.reporter = config, folder, reporter
        self.source = open_dataset(config.dataset, config.data_dir, config.train_split)
        self.validation = open_dataset(config.dataset, config.data_dir, config.val_split)
        if config.max_val_images is not None:
            self.validation = First(self.validation, config.max_val_images)
        self.epoch_steps = steps_per_epoch(len(self.source), config.batch_size)
        self.last_step = min(config.epochs * self.epoch_steps, config.max_steps or math.inf)
        self.devices = Devices(config)
        self.model = build_model(config, len(self.source.classes))
        self.schedule = make_schedule(config, self.last_step)
        self.optimizer = make_optimizer(config, self.last_step)
        self.evaluator = Evaluator(
            self.model, batch_size=config.eval_batch_size, bucket=config.bucket
        )

    def __call__(self) -> Result:
        self.checkpoints = Checkpoints(self.folder.checkpoints)
        state = self.devices.place(init_state(self.model, self.optimizer))
        state, progress = self.checkpoints.restore(state) or (state, Progress())
        try:
            if progress.step < self.last_step:
                self._train(state, progress)
        finally:
            self.checkpoints.close()
        return Result(self.folder, progress.step, progress.best_mean_iou)

    def _train(self, state: State, progress: Progress) -> None:
        if progress.step:
            self.reporter.message(f"Resumed at step {progress.step} of {self.last_step}.")
            self.folder.write_log(progress.rows)
        batches = self.devices.batches(self.config, self.source, progress.step)
        started = time.perf_counter()
        # Compiled ahead of time: another shape of batch is an error, not a second compilation.
        shapes = self.devices.batch_shapes(self.config)
        step = make_step(self.model, self.optimizer, self.config).lower(state, shapes).compile()
        self.reporter.message(f"Compiled the step in {time.perf_counter() - started:.1f} s.")
        while progress.step < self.last_step:
            state = self._train_epoch(step, state, batches, progress)
            self._end_epoch(state, progress)
            self.checkpoints.save(state, progress)
            self.folder.write_log(progress.rows)

    def _train_epoch(self, step, state: State, batches: Iterator, progress: Progress) -> State:
        """Takes the steps to the end of the epoch that `progress` stands in."""
        epoch = progress.step // self.epoch_steps + 1
        end = min(epoch * self.epoch_steps, self.last_step)
        self.reporter.training(epoch, progress.step, end)
        before, started = progress.seconds, time.perf_counter()
        running = None
        while progress.step < end:
            batch, indices = next(batches)
            state, metrics = step(state, batch)
            if running:
                # Reading a step's loss waits for it, so it is read while the next one runs.
                self._finish_step(*running, progress)
            progress.step += 1
            running = (progress.step, metrics, indices)
            if progress.step % self.config.checkpoint_steps == 0 and progress.step < end:
                self._finish_step(*running, progress)
                running = None
                progress.seconds = before + time.perf_counter() - started
                self.checkpoints.save(state, progress)
        if running:
            self._finish_step(*running, progress)
        progress.seconds = before + time.perf_counter() - started
        return state

    def _finish_step(self, step: int, metrics, indices, progress: Progress) -> None:
        total, pixels = float(metrics.loss_sum), float(metrics.pixels)
        norm = float(metrics.grad_norm)
        loss = total / max(pixels, 1)
        if not (math.isfinite(loss) and math.isfinite(norm)):
            names = ", ".join(self.source.ids[index] for index in indices)
            raise DivergedError(
                f"loss {loss} and gradient norm {norm} at step {step}, learning rate "
                f"{float(self.schedule(step - 1)):.3g}, images {names}: lower --learning-rate, or "
                "limit the gradient with --clip-norm"
            )
        progress.loss_sum += total
        progress.pixels += pixels
        self.reporter.step(step, loss, self.config.batch_size)

    def _end_epoch(self, state: State, progress: Progress) -> None:
        started = time.perf_counter()
        write_back(state, self.model)
        self.reporter.validating(0, len(self.validation))
        scores = self.evaluator.run(self.validation, self.reporter.validating)
        progress.rows.append(self._row(scores, progress, time.perf_counter() - started))
        best = scores.mean_iou > progress.best_mean_iou
        if best:
            progress.best_mean_iou = scores.mean_iou
            self.folder.save_best(self.model)
        progress.loss_sum = progress.pixels = progress.seconds = 0.0
        self.reporter.epoch(progress.rows[-1], scores, best)

    def _row(self, scores: Scores, progress: Progress, val_seconds: float) -> dict:
        epoch = math.ceil(progress.step / self.epoch_steps)
        steps = progress.step - (epoch - 1) * self.epoch_steps
        return {
            "epoch": epoch,
            "step": progress.step,
            "learning_rate": float(self.schedule(progress.step - 1)),
            "train_loss": progress.loss_sum / max(progress.pixels, 1),
            "val_loss": scores.loss,
            "pixel_accuracy": scores.pixel_accuracy,
            "mean_accuracy": scores.mean_accuracy,
            "mean_iou": scores.mean_iou,
            "fw_iou": scores.fw_iou,
            "train_seconds": progress.seconds,
            "val_seconds": val_seconds,
            "images_per_second": steps * self.config.batch_size / progress.seconds,
        }
