"""How long a schedule can be within a given time."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from time import perf_counter
from typing import Any

from fcn_keras.errors import InputError

MARGIN = 0.95  # share of the time that is planned; the rest is for checkpoints and slower hours
FIRST, TIMED = 2, 8  # steps, of which the first ones are not timed
MEASURED_SHARE = 0.05  # largest share of the time for the timed steps

_DURATION = re.compile(r"(?:(\d+(?:\.\d+)?)h)?(?:(\d+(?:\.\d+)?)m)?(?:(\d+(?:\.\d+)?)s)?")


def seconds_of(duration: str) -> float:
    """A duration in seconds.

    >>> seconds_of("90m"), seconds_of("1h30m"), seconds_of("1.5h"), seconds_of("20s")
    (5400.0, 5400.0, 5400.0, 20.0)

    Raises:
        ValueError: it is not one.
    """
    match = _DURATION.fullmatch(duration.strip())
    hours, minutes, seconds = (float(part or 0) for part in match.groups()) if match else (0, 0, 0)
    if not (total := 3600 * hours + 60 * minutes + seconds):
        raise ValueError
    return float(total)


@dataclass(frozen=True)
class Pace:
    """Seconds that a step takes, with its data, and a validation."""

    step_seconds: float
    val_seconds: float

    def steps_within(self, seconds: float, most: int, val_steps: int) -> int:
        """The steps that fit, up to `most`, with a validation every `val_steps` and after the last.

        >>> Pace(1.0, 5.0).steps_within(30, most=100, val_steps=10)
        20
        >>> Pace(1.0, 5.0).steps_within(29, most=100, val_steps=10)
        19
        >>> Pace(1.0, 5.0).steps_within(4, most=100, val_steps=10)
        0
        >>> Pace(1.0, 5.0).steps_within(-4, most=100, val_steps=10)  # compiling took it all
        0
        """
        rounds, rest = divmod(max(seconds, 0), val_steps * self.step_seconds + self.val_seconds)
        begun = int(max(rest - self.val_seconds, 0) / self.step_seconds)
        return min(int(rounds) * val_steps + min(begun, val_steps), most)


def measure(take_step: Callable[[], Any], validate: Callable[[], float], budget: float) -> Pace:
    """Times the first steps and a validation.

    Args:
        take_step: Takes a step and waits for it.
        validate: Validates on a part, and returns how many times larger the whole is.
        budget: Seconds of the whole run, of which this takes a small share.
    """
    for _ in range(FIRST):
        take_step()
    started, steps = perf_counter(), 0
    while steps < TIMED and (not steps or perf_counter() - started < MEASURED_SHARE * budget):
        take_step()
        steps += 1
    step_seconds = (perf_counter() - started) / steps
    validate()  # compiles
    started = perf_counter()
    times = validate()
    return Pace(step_seconds, times * (perf_counter() - started))


def describe_plan(
    steps: int, pace: Pace, duration: str, left: float, most: int, val_steps: int
) -> str:
    """Describes a schedule of `steps`, where `most` would be its length without a budget.

    Args:
        steps: The length; 0 if nothing fits.
        pace: What was measured.
        duration: The budget as the user gave it.
        left: Seconds of it that are left for training.
        most: The length without a budget.
        val_steps: Steps from one validation to the next.

    Raises:
        InputError: not even one step and a validation fit.
    """
    measured = f"a step takes {pace.step_seconds:.3g} s and a validation {pace.val_seconds:.3g} s"
    if not steps:
        raise InputError(
            f"time_budget={duration} is too short: {measured}, and {max(left, 0):.3g} s are left "
            "after compiling; allow more time, or make the crop or the model smaller"
        )
    if steps < most:
        return (
            f"Time budget {duration}: {measured}, so {steps} of {most} steps fit, which is the "
            "schedule's length now."
        )
    needed = steps * pace.step_seconds + -(-steps // val_steps) * pace.val_seconds
    return (
        f"Time budget {duration}: {measured}, and all {most} steps fit, in about "
        f"{needed / 60:.3g} minutes."
    )
