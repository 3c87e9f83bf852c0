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
from fcn_keras.cpu.allocator import trim
from fcn_keras.data import Subset, open_dataset, steps_per_epoch
from fcn_keras.data.labels import require_labels
from fcn_keras.evaluation import Evaluator, Scores
from fcn_keras.saving import ModelInfo, annotate, package_version
from fcn_keras.storage import SaveError, locked
from fcn_keras.training.budget import MARGIN, describe_plan, measure, seconds_of
from fcn_keras.training.checkpoint import Checkpoints, RunProgress
from fcn_keras.training.checks import class_weights_of, validations_without_gain, warn_of_collapse
from fcn_keras.training.config import TrainConfig
from fcn_keras.training.faults import DivergedError, StoppedError
from fcn_keras.training.fingerprint import fingerprint
from fcn_keras.training.log import class_columns, write_log
from fcn_keras.training.memory import check_memory
from fcn_keras.training.optimizer import make_optimizer, make_schedule
from fcn_keras.training.reporter import Reporter
from fcn_keras.training.run_folder import RunFolder, git_hash
from fcn_keras.training.setup import Devices, augmentation_of, build_model, fit_batch
from fcn_keras.training.signals import StopRequest
from fcn_keras.training.step import (
    Metrics,
    State,
    averaged,
    init_state,
    make_step,
    release,
    write_back,
)

TRIAL_IMAGES = 8  # for timing a validation


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
        augment: Takes the place of the built-in augmentation: an `albumentations.Compose`, or
            whatever is called as ``augment(image=..., mask=...)`` and gives a dict of both, in
            squares of ``config.crop_size``. Resume with the same one.

    Raises:
        InputError: an option, a file of the data set or the weights can't be used, or another
            process trains in `workdir`.
        DivergedError: the loss is no longer finite. Checkpoints and best model are kept.
        SaveError: the folder can no longer be written. Complete files in it are kept.
        StoppedError: SIGTERM or SIGINT came; the state of the last step is saved.
        KeyboardInterrupt: SIGINT came twice.
    """
    cpu.prepare()
    folder = RunFolder(workdir)
    folder.check(config, resume)
    alone = locked(folder.path, "workdir") if not jax.process_index() else contextlib.nullcontext()
    with alone, StopRequest() as stop:
        folder.check(config, resume)  # again, since another run may have held the folder until now
        run = _Loop(config, folder, reporter or Reporter(), stop, recipe, augment)
        run.devices.barrier("every process has checked the folder")
        if run.writes:
            run.check_data(resume)
            folder.start(config, recipe, run.class_weights)
        run.devices.barrier("the folder is there")
        return run()


class _Loop:
    def __init__(
        self,
        config: TrainConfig,
        folder: RunFolder,
        reporter: Reporter,
        stop: StopRequest,
        recipe: str | None,
        augment: Callable[..., dict] | None,
    ):
        self.config, self.folder, self.stop = config, folder, stop
        self.started = time.perf_counter()
        self.devices = Devices(config)
        # With several processes only the first one reports and writes.
        self.writes = self.devices.first_process
        self.reporter = reporter if self.writes else Reporter()
        self.source = open_dataset(config.dataset, config.data_dir, config.train_split)
        self.validation = open_dataset(config.dataset, config.data_dir, config.val_split)
        if config.max_val_images is not None:
            self.validation = Subset.first(self.validation, config.max_val_images)
        self._check_labels()
        self.class_weights = class_weights_of(config, self.source, self.reporter.message)
        self.config = config = fit_batch(config, len(self.source), self.reporter.message)
        self.epoch_steps = steps_per_epoch(len(self.source), config.batch_size)
        most = config.epochs * self.epoch_steps
        self._set_length(most if config.max_steps is None else min(most, config.max_steps))
        self.augmentation = augmentation_of(config, augment)
        self.model = build_model(config, len(self.source.classes), self.reporter.message)
        self.info = ModelInfo(
            classes=self.source.classes,
            recipe=recipe,
            dataset=config.dataset,
            split=config.val_split,
            commit=git_hash(),
            version=package_version(),
        )
        # Now, so that names that can't be stored don't end a long run.
        annotate(self.model, self.info)
        if warning := cpu.slow_precision(config.precision):
            self.reporter.message(warning)
        self.evaluator = Evaluator(
            self.model, batch_size=config.eval_batch_size, bucket=config.bucket
        )

    def _set_length(self, steps: int) -> None:
        """Makes the schedule `steps` long."""
        config, self.last_step = self.config, steps
        if config.warmup_steps > steps / 2:
            self.reporter.message(
                f"Warning: warm-up takes {config.warmup_steps} of the run's {steps} steps: shorten "
                "it, or train longer."
            )
        self.schedule = make_schedule(config, steps)
        self.optimizer = make_optimizer(config, steps)

    def _check_labels(self) -> None:
        splits = (self.source, self.config.train_split), (self.validation, self.config.val_split)
        for source, split in splits:
            if warning := require_labels(source, split):
                self.reporter.message(warning)

    def __call__(self) -> Result:
        self.checkpoints = Checkpoints(self.folder.checkpoints)
        state = self.devices.place(init_state(self.model, self.optimizer, self.config))
        release(self.model)
        if self.config.time_budget is not None:
            state = self._keep_to_budget(state, self.config.time_budget)
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

    def _keep_to_budget(self, state: State, duration: str) -> State:
        """Gives the schedule the length that was planned, or plans it now, and returns `state`.

        What is measured leaves no trace: the run is that of a schedule given at this length.
        """
        if (steps := self.folder.read_plan()) is not None:
            self._set_length(min(steps, self.last_step))
            return state
        kept, budget = jax.device_get(state), seconds_of(duration)
        compiling = time.perf_counter()
        step = self._compile(state)
        compiling = time.perf_counter() - compiling
        pace = measure(*self._trials(step, state), budget)
        # What the other length needs to compile anew counts too.
        left = budget - (time.perf_counter() - self.started) - compiling
        most, val_steps = self.last_step, self.config.val_epochs * self.epoch_steps
        steps = self.devices.agreed(pace.steps_within(MARGIN * left, most, val_steps))
        self.reporter.message(describe_plan(steps, pace, duration, left, most, val_steps))
        if self.writes:
            self.folder.write_plan(steps, pace)
        self._set_length(steps)
        return self.devices.place(kept)

    def _trials(self, step: Any, state: State) -> tuple[Callable, Callable]:
        """Functions that take a step, and that validate on a few images."""
        batches = self.devices.batches(self.config, self.source, 0, self.augmentation)
        sample = Subset.first(self.validation, TRIAL_IMAGES * self.devices.shard[1])

        def take_step() -> None:
            nonlocal state
            state, metrics = step(state, next(batches)[0])
            float(metrics.loss_sum)

        def validate() -> float:
            batches.close()
            write_back(averaged(state, self.config), self.model)
            self.evaluator.run(sample, shard=self.devices.shard)
            release(self.model)
            return len(self.validation) / len(sample)

        return take_step, validate

    def _close(self) -> None:
        """Waits for the last checkpoint, and so do other processes: the end of one ends all."""
        self.checkpoints.close()
        self.devices.barrier("everything is on disk")

    def check_data(self, resume: bool) -> None:
        """Checks that a resumed run finds its data, and names package versions that changed.

        Raises:
            InputError: the data of the run have changed.
        """
        validation = self.validation
        if isinstance(validation, Subset):
            validation = validation.source
        self.folder.check_data(
            {
                self.config.val_split: fingerprint(validation),
                self.config.train_split: fingerprint(self.source),
            }
        )
        if resume and (changed := self.folder.changed_versions()):
            self.reporter.message(
                f"Warning: {', '.join(changed)}: the run may end with slightly other weights than "
                "without the break."
            )

    def _catch_up(self, progress: RunProgress) -> None:
        """Takes over a validation that came after the checkpoint, unless the best model is lost."""
        self.reporter.message(f"Resumed at step {progress.step} of {self.last_step}.")
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
        """Whether an epoch has ended that is to be validated and has no row yet."""
        validated = progress.rows[-1]["step"] if progress.rows else 0
        due = progress.step % (self.config.val_epochs * self.epoch_steps) == 0
        return (due or progress.step == self.last_step) and progress.step > validated

    def _train(self, state: State, progress: RunProgress) -> None:
        step = self._compile(state) if progress.step < self.last_step else None
        batches = self.devices.batches(self.config, self.source, progress.step, self.augmentation)
        with contextlib.closing(batches):  # so that the workers end before the last message
            while True:
                if self._needs_validation(progress):
                    self._validate(state, progress)
                if progress.step >= self.last_step or self._out_of_patience(progress):
                    return
                state = self._train_epoch(step, state, batches, progress)
                # Before the validation, which is long and may fail; it overlaps with the writing.
                self.checkpoints.save(state, progress)

    def _out_of_patience(self, progress: RunProgress) -> bool:
        """Whether the last validations brought no improvement; depends on the log alone."""
        scores, patience = [row["mean_iou"] for row in progress.rows], self.config.patience
        waited = validations_without_gain(scores)
        if patience is None or waited < patience:
            return False
        self.reporter.message(
            f"Stopped early at step {progress.step} of {self.last_step}: no better mean IoU than "
            f"{max(scores):.4f} in {waited} validations."
        )
        return True

    def _compile(self, state: State) -> jax.stages.Compiled:
        """Compiled ahead of time: another shape of batch is an error, not a second compilation."""
        self.reporter.message("Compiling the step; at full size this takes a minute or two ...")
        started = time.perf_counter()
        shapes = self.devices.batch_shapes(self.config)
        step = make_step(self.model, self.optimizer, self.config, self.class_weights)
        step = step.lower(state, shapes).compile()
        trim()
        self.reporter.message(f"Compiled the step in {time.perf_counter() - started:.1f} s.")
        if sizes := check_memory(step, self.config):
            self.reporter.message(sizes)
        return step

    def _train_epoch(
        self, step: Any, state: State, batches: Iterator, progress: RunProgress
    ) -> State:
        """Trains to the end of the epoch that `progress` is in."""
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
            names = ", ".join(self.source.ids[index] for index in indices)
            raise DivergedError(
                f"loss {loss} and gradient norm {norm} at step {step}, learning rate "
                f"{float(self.schedule(step - 1)):.3g}, images {names}: lower `learning_rate`, or "
                "limit the gradient with `clip_norm`"
            )
        progress.loss_sum += total
        progress.pixels += pixels
        self.reporter.step(step, loss, self.config.batch_size)

    def _validate(self, state: State, progress: RunProgress) -> None:
        started = time.perf_counter()
        write_back(averaged(state, self.config), self.model)
        self.reporter.validating(0, len(self.validation))

        def watch(done: int, total: int) -> None:
            self.reporter.validating(done, total)
            if self.devices.alone and self.stop.reached(progress.step):
                raise StoppedError(self.stop.signal, progress.step)

        scores = self.evaluator.run(self.validation, watch, shard=self.devices.shard)
        # In the first epoch it is common.
        if progress.rows and (warning := warn_of_collapse(scores, self.source.classes.names)):
            self.reporter.message(warning)
        best = scores.mean_iou > progress.best_mean_iou
        progress.close_epoch(self._row(scores, progress, time.perf_counter() - started))
        if best and self.writes:
            annotate(self.model, dataclasses.replace(self.info, scores=scores.overall()))
            self.folder.save_best(self.model)
        release(self.model)
        # After the best model, since a row marks its epoch as finished.
        if self.writes:
            self.folder.write_row(progress.rows[-1])
        self._write_log(progress)
        self.reporter.epoch(progress.rows[-1], scores, best)

    def _write_log(self, progress: RunProgress) -> None:
        if self.writes:
            write_log(self.folder.log, progress.rows)

    def _row(self, scores: Scores, progress: RunProgress, val_seconds: float) -> dict:
        before = progress.rows[-1]["step"] if progress.rows else 0
        images = (progress.step - before) * self.config.batch_size
        return {
            "epoch": math.ceil(progress.step / self.epoch_steps),
            "step": progress.step,
            "learning_rate": float(self.schedule(progress.step - 1)),
            "train_loss": progress.loss_sum / max(progress.pixels, 1),
            "val_loss": scores.loss,
            **scores.overall(),
            "train_seconds": progress.seconds,
            "val_seconds": val_seconds,
            "images_per_second": images / progress.seconds,
            **class_columns(self.info.classes.names, scores.iou),
        }
