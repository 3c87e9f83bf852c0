"""A process for each contender, and the turns they take."""

from __future__ import annotations

import contextlib
import multiprocessing
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Executor, ProcessPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

from experiments.benchmark.case import Case, Contender, Tell

MIN_SECONDS = 0.2
"""A turn repeats the call until it has taken this long."""

MEGABYTE = 1e6

T = TypeVar("T")


class Built(NamedTuple):
    """A contender that is ready to be timed."""

    call: Callable[[], Any]
    wait: Callable[[Any], Any]  # takes what `call` returned
    device_peak: Callable[[], float | None]  # megabytes held on an accelerator; None without one


@dataclass
class Result:
    """What one contender did.

    Attributes:
        first_seconds: From the start of building to the end of the first call, compiling included.
        seconds: Mean time of a call in each turn.
        peak_megabytes: Most memory the process ever held, imports and compiling included.
        device_peak_megabytes: Most memory held on the accelerator, None without one.
        error: One line, where it could not run.
    """

    contender: Contender
    first_seconds: float | None = None
    seconds: list[float] = field(default_factory=list)
    peak_megabytes: float | None = None
    device_peak_megabytes: float | None = None
    error: str | None = None

    @property
    def median(self) -> float | None:
        """The middle one of `seconds`."""
        return statistics.median(self.seconds) if self.seconds else None


def compare(
    case: Case, contenders: Sequence[Contender], repeats: int, tell: Tell = lambda text: None
) -> list[Result]:
    """Runs every contender `repeats` times, in turns, each in its own process."""
    results = [Result(contender) for contender in contenders]
    with contextlib.ExitStack() as stack:
        processes = [stack.enter_context(process()) for _ in results]
        for each, result in zip(processes, results, strict=True):
            tell(f"{case}: {result.contender} builds and compiles")
            result.first_seconds = _ask(each, result, partial(_build, case, result.contender))
        for turn in range(repeats):
            for each, result in zip(processes, results, strict=True):
                tell(f"{case}: turn {turn + 1}/{repeats}, {result.contender}")
                if (seconds := _ask(each, result, _turn)) is not None:
                    result.seconds.append(seconds)
        for each, result in zip(processes, results, strict=True):
            peaks = _ask(each, result, _peaks)
            result.peak_megabytes, result.device_peak_megabytes = peaks or (None, None)
    return results


def process() -> Executor:
    """A new Python process that runs one call after the other."""
    return ProcessPoolExecutor(1, multiprocessing.get_context("spawn"))


def apart(function: Callable[..., T], *args: Any) -> T:
    """``function(*args)`` in a process of its own, so that this one stays small."""
    with process() as other:
        return other.submit(function, *args).result()


def _ask(other: Executor, result: Result, function: Callable):
    """The process' answer; None once the contender has failed, the reason being noted."""
    if result.error is not None:
        return None
    try:
        answer, result.error = other.submit(_caught, function).result()
    except Exception as error:  # the process ended
        answer, result.error = None, _line(error)
    return answer


def _caught(function: Callable) -> tuple[Any, str | None]:
    """The answer, and the error in a line: a contender that can't run is a row of the table."""
    try:
        return function(), None
    except Exception as error:
        return None, _line(error)


def _line(error: Exception) -> str:
    reason = (str(error).strip().splitlines() or [""])[0]
    return f"{type(error).__name__}: {reason}"[:200]


_built: Built
_calls: int


def _build(case: Case, contender: Contender) -> float:
    """In the contender's process: builds it. Returns the seconds until the first call's end."""
    global _built, _calls
    start = time.perf_counter()
    if contender.startswith("ours") or contender == "openvino":
        from experiments.benchmark import ours as side
    else:
        from experiments.benchmark import pytorch as side
    _built, _calls = side.build(case, contender), 1
    _turn()
    first = time.perf_counter() - start
    _calls = 1 + int(MIN_SECONDS / _turn())
    return first


def _turn() -> float:
    """Seconds a call, over several calls of which only the last is waited for."""
    start = time.perf_counter()
    for _ in range(_calls):
        outputs = _built.call()
    _built.wait(outputs)
    return (time.perf_counter() - start) / _calls


def _peaks() -> tuple[float, float | None]:
    """Megabytes: the most that this process has held so far, and held on the accelerator."""
    status = Path("/proc/self/status")
    if status.exists():  # Linux; ru_maxrss would count what the parent held when it forked
        line = next(line for line in status.read_text().splitlines() if line.startswith("VmHWM"))
        held = 1024 * int(line.split()[1])
    else:
        import resource

        held = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        held *= 1 if sys.platform == "darwin" else 1024
    return held / MEGABYTE, _built.device_peak()
