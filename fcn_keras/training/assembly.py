"""The parts of a run, before it trains: data, model, schedule, and the compiled step."""

from __future__ import annotations

import time
from collections.abc import Callable, Generator
from typing import Any

import jax
import numpy as np

from fcn_keras import cpu
from fcn_keras.cpu.allocator import trim
from fcn_keras.data import Source, Subset, open_dataset, steps_per_epoch
from fcn_keras.data.labels import require_labels
from fcn_keras.data.reduced import Reduced
from fcn_keras.evaluation import Evaluator
from fcn_keras.saving import ModelInfo, annotate, package_version
from fcn_keras.training.checks import class_weights_of
from fcn_keras.training.config import TrainConfig
from fcn_keras.training.fingerprint import fingerprint
from fcn_keras.training.memory import check_memory
from fcn_keras.training.optimizer import make_optimizer, make_schedule
from fcn_keras.training.reporter import Reporter
from fcn_keras.training.run_folder import git_hash
from fcn_keras.training.setup import Devices, augmentation_of, build_model, fit_batch
from fcn_keras.training.step import State, init_state, make_step, release


class Assembly:
    """The parts of the run that `config` describes.

    Attributes:
        config: The settings, with a batch that the data can fill.
        reporter: Receives messages; only in the first process is it the caller's.
        source: The training split.
        validation: The images that are scored.
        info: What the model is to know about itself, except its scores.
        epoch_steps: Steps in an epoch.
        last_step: The length of the schedule.

    Raises:
        InputError: an option, a file of the data set or the weights can't be used.
    """

    def __init__(
        self,
        config: TrainConfig,
        reporter: Reporter,
        recipe: str | None = None,
        augment: Callable[..., dict] | None = None,
    ):
        self.devices = Devices(config)
        self.reporter = reporter if self.devices.first_process else Reporter()
        self.source = open_dataset(config.dataset, config.data_dir, config.train_split)
        self.validation = open_dataset(config.dataset, config.data_dir, config.val_split)
        if config.max_val_images is not None:
            self.validation = Subset.first(self.validation, config.max_val_images)
        splits = (self.source, config.train_split), (self.validation, config.val_split)
        for source, split in splits:
            self._warn(require_labels(source, split))
        self.class_weights = class_weights_of(config, self.source, self.reporter.message)
        self.config = config = fit_batch(config, len(self.source), self.reporter.message)
        self.epoch_steps = steps_per_epoch(len(self.source), config.batch_size)
        most = config.epochs * self.epoch_steps
        self.set_length(most if config.max_steps is None else min(most, config.max_steps))
        self.augmentation = augmentation_of(config, augment)
        self.model = build_model(config, len(self.source.classes), self.reporter.message)
        self.info = ModelInfo(
            classes=self.source.classes,
            recipe=recipe,
            dataset=config.dataset,
            split=config.val_split,
            max_side=config.max_side,
            commit=git_hash(),
            version=package_version(),
        )
        # Fails now, not at the end of a long run, if names can't be stored.
        annotate(self.model, self.info)
        self._warn(cpu.slow_precision(config.precision))
        self.evaluator = Evaluator(
            self.model, batch_size=config.eval_batch_size, bucket=config.bucket
        )

    def set_length(self, steps: int) -> None:
        """Makes the schedule `steps` long."""
        config, self.last_step = self.config, steps
        if config.warmup_steps > steps / 2:
            self._warn(
                f"Warning: warm-up takes {config.warmup_steps} of the run's {steps} steps: shorten "
                "it, or train longer."
            )
        self.schedule = make_schedule(config, steps)
        self.optimizer = make_optimizer(config, steps)

    def initial_state(self) -> State:
        """The state before the first step, on the devices; the model's own copy is dropped."""
        state = self.devices.place(init_state(self.model, self.optimizer, self.config))
        release(self.model)
        return state

    def batches(
        self, start_step: int
    ) -> Generator[tuple[dict[str, jax.Array], np.ndarray], None, None]:
        """Endless ``(batch, indices)`` from `start_step` on."""
        source: Source = self.source
        if self.config.max_side is not None:
            source = Reduced(source, self.config.max_side)
        return self.devices.batches(self.config, source, start_step, self.augmentation)

    def compile_step(self, state: State) -> Any:
        """Compiles the step ahead of time, so that a batch of another shape is an error."""
        self.reporter.message("Compiling the step; at full size this takes a minute or two ...")
        started = time.perf_counter()
        shapes = self.devices.batch_shapes(self.config)
        step = make_step(self.model, self.optimizer, self.config, self.class_weights)
        step = step.compile(state, shapes)
        trim()
        self.reporter.message(f"Compiled the step in {time.perf_counter() - started:.1f} s.")
        self._warn(check_memory(step, self.config))
        return step

    def fingerprints(self) -> dict[str, Any]:
        """What identifies the data of each split, all of it."""
        validation = self.validation
        if isinstance(validation, Subset):
            validation = validation.source
        return {
            self.config.val_split: fingerprint(validation),
            self.config.train_split: fingerprint(self.source),
        }

    def _warn(self, text: str | None) -> None:
        if text:
            self.reporter.message(text)
