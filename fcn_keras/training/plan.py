"""Plans the length of a run that has a time budget, from its first steps."""

from __future__ import annotations

from collections.abc import Callable
from time import perf_counter
from typing import Any

import jax

from fcn_keras.data import Subset
from fcn_keras.training.assembly import Assembly
from fcn_keras.training.budget import MARGIN, describe_plan, measure, seconds_of
from fcn_keras.training.run_folder import RunFolder
from fcn_keras.training.step import State, averaged, release, write_back

TRIAL_IMAGES = 8  # for timing a validation


def keep_to_budget(
    parts: Assembly, folder: RunFolder, state: State, duration: str, started: float
) -> State:
    """Gives the schedule the length that was planned, or plans it now, and returns `state`.

    The measured steps leave no trace: the run is the same as one with a schedule of this length.

    Args:
        parts: The run, whose schedule is changed.
        folder: Keeps the plan.
        state: The state before the first step; its buffers are donated.
        duration: The budget as the user gave it.
        started: When the budget began, on the clock of `time.perf_counter`.

    Raises:
        InputError: not even one step and a validation fit.
    """
    if (steps := folder.read_plan()) is not None:
        parts.set_length(min(steps, parts.last_step))
        return state
    kept, budget = jax.device_get(state), seconds_of(duration)
    compiling = perf_counter()
    step = parts.compile_step(state)
    compiling = perf_counter() - compiling
    pace = measure(*_trials(parts, step, state), budget)
    # Compiling again for the other length counts too.
    left = budget - (perf_counter() - started) - compiling
    most, val_steps = parts.last_step, parts.config.val_epochs * parts.epoch_steps
    steps = parts.devices.agreed(pace.steps_within(MARGIN * left, most, val_steps))
    parts.reporter.message(describe_plan(steps, pace, duration, left, most, val_steps))
    if parts.devices.first_process:
        folder.write_plan(steps, pace)
    parts.set_length(steps)
    return parts.devices.place(kept)


def _trials(parts: Assembly, step: Any, state: State) -> tuple[Callable, Callable]:
    """Functions that take a step, and that validate on a few images."""
    batches = parts.batches(0)
    sample = Subset.first(parts.validation, TRIAL_IMAGES * parts.devices.shard[1])

    def take_step() -> None:
        nonlocal state
        state, metrics = step(state, next(batches)[0])
        float(metrics.loss_sum)

    def validate() -> float:
        batches.close()
        write_back(averaged(state, parts.config), parts.model)
        parts.evaluator.run(sample, shard=parts.devices.shard)
        release(parts.model)
        return len(parts.validation) / len(sample)

    return take_step, validate
