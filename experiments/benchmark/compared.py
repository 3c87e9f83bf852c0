"""The verbs that set contenders beside each other: predict, train, upsample and largest."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from typing import ClassVar

from experiments.benchmark import workers
from experiments.benchmark.case import (
    PYTORCH,
    RUNTIMES,
    Case,
    Contender,
    Networks,
    Options,
    Tell,
    installed,
)
from experiments.benchmark.report import Report
from experiments.benchmark.workers import Timing
from fcn_keras import InputError


@dataclass(frozen=True, kw_only=True)
class Compared(Networks):
    """Options of the verbs in this file."""

    contenders: tuple[Contender, ...] = ()
    """Who takes part. Default: ours, and whatever of the others is installed."""

    def entrants(self) -> tuple[Contender, ...]:
        """The contenders asked for, or the default."""
        return entering(self.contenders, self.training)


@dataclass(frozen=True, kw_only=True)
class Predict(Compared):
    """Pixels on the device to logits on the device."""

    def report(self, case: Case, tell: Tell) -> Report:
        """A row for each contender."""
        results = workers.compare(case, self.entrants(), self.repeats, tell)
        return Report(str(case), comparison(case, results), {"case": asdict(case)})


@dataclass(frozen=True, kw_only=True)
class Train(Predict):
    """A step of SGD with momentum and weight decay, on synthetic images on the device."""

    training: ClassVar[bool] = True


@dataclass(frozen=True, kw_only=True)
class Upsample(Options):
    """A learned upsampling of class scores and its two gradients."""

    contenders: tuple[Contender, ...] = ()
    """Who takes part. Default: ours, and PyTorch if it is installed."""
    strides: tuple[int, ...] = (2, 8, 16, 32)  # Factors; the kernels are twice as large.
    size: int = 480  # Height and width of the result, a multiple of the strides.
    batch: int = 1  # Maps at a time.
    num_classes: int = 21  # Channels of the scores.

    def run(self, tell: Tell) -> Iterator[Report]:
        """Measures the strides one after the other."""
        entrants = entering(self.contenders, training=True)
        for stride in self.strides:
            if self.size % stride:
                raise InputError(f"--size {self.size}: give a multiple of the stride {stride}")
            case = Case(
                verb="upsample",
                size=self.size,
                batch=self.batch,
                num_classes=self.num_classes,
                stride=stride,
            )
            results = workers.compare(case, entrants, self.repeats, tell)
            yield Report(str(case), comparison(case, results), {"case": asdict(case)})


@dataclass(frozen=True, kw_only=True)
class Largest(Compared):
    """The largest batch that each contender can run, doubling from --batches on."""

    training: bool = True  # Try training steps instead of predictions.
    limit: int = 1024  # Stop at this batch.

    def report(self, case: Case, tell: Tell) -> Report:
        """A row for each contender: its largest batch, and what happened with a larger one."""
        rows = []
        for contender in self.entrants():
            tried = list(self.tries(case, contender, tell))
            ran = [(batch, result) for batch, result in tried if not result.error]
            batch, result = ran[-1] if ran else (0, tried[-1][1])
            (row,) = comparison(replace(case, batch=batch), [result])
            then = tried[-1][1].error or f"limit of {self.limit}"
            first = {"contender": contender, "largest batch": batch}
            rows.append(first | row | {"error": None, "then": then})
        return Report(f"largest batch, {case}", rows, {"case": asdict(case)})

    def tries(self, case: Case, contender: Contender, tell: Tell) -> Iterator[tuple[int, Timing]]:
        """Doubles the batch until the contender fails or the limit is passed."""
        batch, failed = case.batch, False
        while batch <= self.limit and not failed:
            (result,) = workers.compare(replace(case, batch=batch), [contender], 1, tell)
            yield batch, result
            batch, failed = 2 * batch, bool(result.error)


def entering(contenders: tuple[Contender, ...], training: bool) -> tuple[Contender, ...]:
    """The contenders asked for, or those available.

    Raises:
        InputError: a runtime is asked to train.
    """
    for contender in contenders if training else ():
        if contender in RUNTIMES:
            raise InputError(f"--contenders {contender} can't train: leave it out")
    return contenders or available(training)


def available(training: bool) -> tuple[Contender, ...]:
    """Ours, and whatever this machine can run beside it."""
    found = ["ours"]
    if installed("torch"):
        found += PYTORCH
    if not training and installed("torch", "onnxruntime", "onnxscript"):
        found.append("onnxruntime")
    if not training and installed("openvino", "onnx"):
        found.append("openvino")
    return tuple(found)


def comparison(case: Case, results: Sequence[Timing]) -> list[dict]:
    """A row for each contender. "ours is" 2 means that ours is twice as fast."""
    ours = next((result.median for result in results if result.contender == "ours"), None)
    return [
        {
            "contender": result.contender,
            "ms": 1000 * result.median,
            "min": 1000 * min(result.seconds),
            "max": 1000 * max(result.seconds),
            "turns": [1000 * seconds for seconds in result.seconds],
            "images/s": case.batch / result.median,
            "ours is": result.median / ours if ours else None,
            "peak MB": result.peak_megabytes,
            "device MB": result.device_peak_megabytes,
            "error": result.error,
        }
        if result.seconds
        else {"contender": result.contender, "error": result.error}
        for result in results
    ]
