"""The training run: epochs of steps, validation, checkpoints, the best model."""

from __future__ import annotations

import contextlib
import dataclasses
import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax
import numpy as np

from fcn_keras import cpu
from fcn_keras.evaluation import Scores
from fcn_keras.saving import annotate
from fcn_keras.storage import SaveError, locked
from fcn_keras.training.assembly import Assembly
from fcn_keras.training.checkpoint import Checkpoints, RunProgress
from fcn_keras.training.checks import validations_without_gain, warn_of_collapse
from fcn_keras.training.config import TrainConfig
from fcn_keras.training.faults import DivergedError, StoppedError
from fcn_keras.training.log import class_columns, write_log
from fcn_keras.training.plan import keep_to_budget
from fcn_keras.training.reporter import Reporter
from fcn_keras.training.run_folder import RunFolder
from fcn_keras.training.signals import StopRequest
from fcn_keras.training.step import Metrics, State, averaged, release, write_back


@dataclass(frozen=True)
class Result:
    """The outcome of a run: its folder, the steps taken, the best mean IoU on validation."""

    folder: RunFolder
    steps: int
    best_mean_iou: float


def train(
    config: TrainConfig,
    workdir: Path,
    *,
    resume: bool = False,
    reporter: Reporter | None = None,
    recipe: str | None = None,
    augment: Callable[..., dict] | None = None,
) -> Result:
    """Trains with the settings of `config` and writes everything to `workdir`.

    Args:
        config: All settings.
        workdir: Folder of the run: a new one, or with `resume` one that holds a run.
        resume: Continue from the newest checkpoint, to the same weights as an uninterrupted run.
        reporter: Receives the run's events.
        recipe: Name of the settings, for the record.
        augment: Replaces the built-in augmentation: an `albumentations.Compose`, or anything that
            is called as ``augment(image=..., mask=...)`` and returns a dict of both, squares of
            ``config.crop_size``. Resume with the same one.

    Raises:
        InputError: an option, a file of the data set or the weights can't be used, or another
            process is training in `workdir`.
        DivergedError: the loss is no longer finite. Checkpoints and best model are kept.
        SaveError: the folder can no longer be written. Complete files in it are kept.
        StoppedError: SIGTERM or SIGINT came; the state of the last step is saved.
        KeyboardInterrupt: SIGINT came twice.
    """
    cpu.prepare()
    folder = RunFolder(workdir)
    if resume and folder.config.exists():
        config = folder.as_begun(config)
    folder.check(config, resume)
    alone = locked(folder.path, "workdir") if not jax.process_index() else contextlib.nullcontext()
    with alone, StopRequest() as stop:
        folder.check(config, resume)  # again, since another run may have held the folder until now
        started = time.perf_counter()
        parts = Assembly(config, reporter or Reporter(), recipe, augment)
        parts.devices.barrier("every process has checked the folder")
        if parts.devices.first_process:
            folder.check_data(parts.fingerprints())
            if resume and (changed := folder.changed_versions()):
                parts.reporter.message(
                    f"Warning: {', '.join(changed)}: the run may end with slightly other weights "
                    "than without the break."
                )
            folder.start(config, recipe, parts.class_weights)
        parts.devices.barrier("the folder is there")
        return _Loop(parts, folder, stop)(started)


class _Loop:
    """Takes the steps of an assembled run.

    With several processes only the first one reports and writes.
    """

    def __init__(self, parts: Assembly, folder: RunFolder, stop: StopRequest):
        self.parts, self.folder, self.stop = parts, folder, stop
        self.config, self.devices, self.reporter = parts.config, parts.devices, parts.reporter
        self.checkpoints = Checkpoints(folder.checkpoints)

    def __call__(self, started: float) -> Result:
        state = self.parts.initial_state()
        if (budget := self.config.time_budget) is not None:
            state = keep_to_budget(self.parts, self.folder, state, budget, started)
        restored = self.checkpoints.restore(state, self.reporter.message)
        state, progress = restored or (state, RunProgress())
        if restored:
            self._catch_up(progress)
        try:
            self._train(state, progress)
        except StoppedError:
            self._close()  # The stop is orderly only once everything is on disk.
            raise
        except Exception:
            with contextlib.suppress(SaveError):
                self.checkpoints.close()
            raise
        self._close()
        return Result(self.folder, progress.step, progress.best_mean_iou)

    def _close(self) -> None:
        """Waits for the last checkpoint, with all other processes: when one ends, all end."""
        self.checkpoints.close()
        self.devices.barrier("everything is on disk")

    def _catch_up(self, progress: RunProgress) -> None:
        """Adopts a validation that came after the checkpoint, unless the best model is lost."""
        self.reporter.message(f"Resumed at step {progress.step} of {self.parts.last_step}.")
        row = self.folder.read_row(progress.step) if self._needs_validation(progress) else None
        fault = self.folder.fault_of_best() if row or progress.rows else None
        if fault:
            progress.best_from = len(progress.rows)
            self.reporter.message(
                f"Warning: {self.folder.best} {fault}: the best model from here on is kept."
            )
        elif row:
            progress.close_epoch(row)
        self._write_log(progress)

    def _needs_validation(self, progress: RunProgress) -> bool:
        """Whether an epoch has ended that needs a validation and has no row yet."""
        validated = progress.rows[-1]["step"] if progress.rows else 0
        due = progress.step % (self.config.val_epochs * self.parts.epoch_steps) == 0
        return (due or progress.step == self.parts.last_step) and progress.step > validated

    def _train(self, state: State, progress: RunProgress) -> None:
        step = self.parts.compile_step(state) if progress.step < self.parts.last_step else None
        batches = self.parts.batches(progress.step)
        with contextlib.closing(batches):  # so that the workers end before the last message
            while True:
                if self._needs_validation(progress):
                    self._validate(state, progress)
                if progress.step >= self.parts.last_step or self._out_of_patience(progress):
                    return
                state = self._train_epoch(step, state, batches, progress)
                # Before the validation, which is long and may fail; it overlaps with the writing.
                self.checkpoints.save(state, progress)

    def _out_of_patience(self, progress: RunProgress) -> bool:
        """Whether the last validations brought no improvement; depends only on the log."""
        scores, patience = [row["mean_iou"] for row in progress.rows], self.config.patience
        waited = validations_without_gain(scores)
        if patience is None or waited < patience:
            return False
        self.reporter.message(
            f"Stopped early at step {progress.step} of {self.parts.last_step}: no better mean IoU "
            f"than {max(scores):.4f} in {waited} validations."
        )
        return True

    def _train_epoch(
        self, step: Any, state: State, batches: Iterator, progress: RunProgress
    ) -> State:
        """Trains to the end of the epoch that `progress` is in."""
        epoch = progress.step // self.parts.epoch_steps + 1
        end = min(epoch * self.parts.epoch_steps, self.parts.last_step)
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
            stop = self.stop.reached(progress.step)
            if stop or progress.step % self.config.checkpoint_steps == 0 or progress.step == end:
                self._finish_step(*running, progress)
                running = None
                progress.seconds = before + time.perf_counter() - started
            if stop or (running is None and progress.step < end):
                self.checkpoints.save(state, progress)
            if stop:
                raise StoppedError(self.stop.signal, progress.step)
        return state

    def _finish_step(
        self, step: int, metrics: Metrics, indices: np.ndarray, progress: RunProgress
    ) -> None:
        self.checkpoints.check()
        total, pixels = float(metrics.loss_sum), float(metrics.pixels)
        norm = float(metrics.grad_norm)
        loss = total / max(pixels, 1)
        if not (math.isfinite(loss) and math.isfinite(norm)):
            names = ", ".join(self.parts.source.ids[index] for index in indices)
            rate = float(self.parts.schedule(step - 1))
            raise DivergedError(
                f"loss {loss} and gradient norm {norm} at step {step}, learning rate {rate:.3g}, "
                f"images {names}: lower `learning_rate`, or limit the gradient with `clip_norm`"
            )
        progress.loss_sum += total
        progress.pixels += pixels
        self.reporter.step(step, loss, self.config.batch_size)

    def _validate(self, state: State, progress: RunProgress) -> None:
        started = time.perf_counter()
        write_back(averaged(state, self.config), self.parts.model)
        self.reporter.validating(0, len(self.parts.validation))

        def watch(done: int, total: int) -> None:
            self.reporter.validating(done, total)
            if self.devices.alone and self.stop.reached(progress.step):
                raise StoppedError(self.stop.signal, progress.step)

        scores = self.parts.evaluator.run(self.parts.validation, watch, shard=self.devices.shard)
        # In the first epoch it is common.
        if progress.rows and (warning := warn_of_collapse(scores, self.parts.source.classes.names)):
            self.reporter.message(warning)
        best = scores.mean_iou > progress.best_mean_iou
        progress.close_epoch(self._row(scores, progress, time.perf_counter() - started))
        if best and self.devices.first_process:
            annotate(
                self.parts.model, dataclasses.replace(self.parts.info, scores=scores.overall())
            )
            self.folder.save_best(self.parts.model)
        release(self.parts.model)
        # After the best model, since a row marks its epoch as finished.
        if self.devices.first_process:
            self.folder.write_row(progress.rows[-1])
        self._write_log(progress)
        self.reporter.epoch(progress.rows[-1], scores, best)

    def _write_log(self, progress: RunProgress) -> None:
        if self.devices.first_process:
            write_log(self.folder.log, progress.rows)

    def _row(self, scores: Scores, progress: RunProgress, val_seconds: float) -> dict:
        before = progress.rows[-1]["step"] if progress.rows else 0
        images = (progress.step - before) * self.config.batch_size
        return {
            "epoch": math.ceil(progress.step / self.parts.epoch_steps),
            "step": progress.step,
            "learning_rate": float(self.parts.schedule(progress.step - 1)),
            "train_loss": progress.loss_sum / max(progress.pixels, 1),
            "val_loss": scores.loss,
            **scores.overall(),
            "train_seconds": progress.seconds,
            "val_seconds": val_seconds,
            "images_per_second": images / progress.seconds,
            **class_columns(self.parts.info.classes.names, scores.iou),
        }
