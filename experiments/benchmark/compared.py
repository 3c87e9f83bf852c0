"""The verbs that set contenders beside each other: predict, train, upsample and largest."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace

from rich.table import Table

from experiments.benchmark import workers
from experiments.benchmark.case import Case, Contender, Networks, Options, Tell, contenders
from experiments.benchmark.roofline import survey
from experiments.benchmark.tables import table
from experiments.benchmark.workers import Result
from fcn_keras import InputError


@dataclass(frozen=True, kw_only=True)
class Compared(Options):
    """What every verb of this file can be told."""

    contenders: tuple[Contender, ...] = ()
    """Who takes part. Default: ours, and whatever of the others is installed."""


@dataclass(frozen=True, kw_only=True)
class Predict(Networks, Compared):
    """Pixels on the device to logits on the device."""

    def run(self, tell: Tell) -> Iterator[tuple[Table, dict]]:
        """Yields each case's table and figures."""
        verb = type(self).__name__.lower()
        entrants = contenders(verb, self.contenders)
        cases = self.cases(verb)
        tell("measuring the matrix product and the memory")
        limits, flops = workers.apart(survey, cases, self.matrix)
        for case, count in zip(cases, flops, strict=True):
            results = workers.compare(case, entrants, self.repeats, tell)
            figures = _figures(case, results, count) | {"limits": asdict(limits)}
            yield comparison(case, results, count, limits.flops_per_second), figures


class Train(Predict):
    """A step of SGD with momentum and weight decay, on synthetic images on the device."""


@dataclass(frozen=True, kw_only=True)
class Upsample(Compared):
    """A learned upsampling of class scores, forward and backward."""

    strides: tuple[int, ...] = (2, 8, 16, 32)  # Factors; the kernels are twice as large.
    size: int = 480  # Height and width of the result, a multiple of the strides.
    batch: int = 1  # Maps at a time.
    num_classes: int = 21  # Channels of the scores.

    def run(self, tell: Tell) -> Iterator[tuple[Table, dict]]:
        """Yields each stride's table and figures."""
        for stride in self.strides:
            if self.size % stride:
                raise InputError(f"--size {self.size}: give a multiple of the stride {stride}")
            case = Case(
                verb="upsample",
                stride=stride,
                size=self.size,
                batch=self.batch,
                num_classes=self.num_classes,
            )
            entrants = contenders("upsample", self.contenders)
            results = workers.compare(case, entrants, self.repeats, tell)
            # Forward and two gradients; each output sums over 2 x 2 taps and all classes.
            flops = 3 * 8 * case.batch * case.size**2 * case.num_classes**2
            yield comparison(case, results, flops), _figures(case, results, flops)


@dataclass(frozen=True, kw_only=True)
class Largest(Networks, Compared):
    """The largest batch that each contender can run, doubling from --batches on."""

    training: bool = True  # Try training steps instead of predictions.
    limit: int = 1024  # Stop at this batch.

    def run(self, tell: Tell) -> Iterator[tuple[Table, dict]]:
        """Yields each case's table and figures."""
        verb = "train" if self.training else "predict"
        for case in self.cases(verb):
            rows = [self._row(each, case, tell) for each in contenders(verb, self.contenders)]
            figures = {"case": asdict(case), "contenders": rows}
            yield table(f"largest batch, {case}", rows), figures

    def _row(self, contender: Contender, case: Case, tell: Tell) -> dict:
        tried = largest(case, contender, self.limit, tell)
        ran = [(batch, result) for batch, result in tried if not result.error]
        batch, result = ran[-1] if ran else (0, tried[-1][1])
        return {
            "contender": contender,
            "largest_batch": batch,
            "images_per_second": batch / result.median if result.median else 0.0,
            "device_MB": result.device_peak_megabytes or result.peak_megabytes or 0.0,
            "then": tried[-1][1].error or f"limit of {self.limit}",
        }


def largest(case: Case, contender: Contender, limit: int, tell: Tell) -> list[tuple[int, Result]]:
    """Doubles the batch until the contender fails or `limit` is passed; a result for each batch."""
    results = []
    batch = case.batch
    while batch <= limit and not (results and results[-1][1].error):
        (result,) = workers.compare(replace(case, batch=batch), [contender], 1, tell)
        results.append((batch, result))
        batch *= 2
    return results


def comparison(
    case: Case, results: Sequence[Result], flops: float, peak: float | None = None
) -> Table:
    """A row a contender. The ratio is ours' speed over the contender's: above 1 ours is faster.

    Args:
        case: What was measured.
        results: What the contenders did.
        flops: Floating-point operations of a call.
        peak: Operations a second of the best matrix product, if known.
    """
    ours = next((result.median for result in results if result.contender == "ours"), None)
    rows = []
    for result in results:
        row, seconds = {"contender": result.contender, "ms": f"[red]{result.error}"}, result.median
        if seconds:
            row |= {
                "ms": 1000 * seconds,
                "min": 1000 * min(result.seconds),
                "max": 1000 * max(result.seconds),
                "images/s": case.batch / seconds,
                "ours is": f"{seconds / ours:.2f}x" if ours else None,
                "GFLOP/s": f"{flops / seconds / 1e9:.1f}",
                "of peak": f"{flops / seconds / peak:.1%}" if peak else None,
                "peak MB": result.peak_megabytes,
                "device MB": result.device_peak_megabytes,
                "first s": f"{result.first_seconds:.1f}",
            }
        rows.append(row)
    return table(str(case), rows)


def _figures(case: Case, results: Sequence[Result], flops: float) -> dict:
    rows = [asdict(result) | {"median": result.median} for result in results]
    return {"case": asdict(case), "flops": flops, "results": rows}
