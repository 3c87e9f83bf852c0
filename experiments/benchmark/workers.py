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
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

from experiments.benchmark.case import OURS, Case, Contender, Tell

MIN_SECONDS = 0.2
"""A turn repeats the call until it has taken this long."""

T = TypeVar("T")


class Built(NamedTuple):
    """A contender that is ready to be timed."""

    call: Callable[[], Any]
    wait: Callable[[Any], Any] = lambda outputs: None  # Takes what `call` returned.
    device_peak: Callable[[], float | None] = lambda: None  # Most MB held on an accelerator.


@dataclass
class Timing:
    """What one contender did.

    Attributes:
        seconds: Mean time of a call in each turn.
        peak_megabytes: Most memory the process ever held, imports and compiling included.
        device_peak_megabytes: Most memory held on the accelerator, None without one.
        error: One line, if it could not run.
    """

    contender: Contender
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
) -> list[Timing]:
    """Times every contender `repeats` times, in turns, each in its own process."""
    results = [Timing(contender) for contender in contenders]
    with contextlib.ExitStack() as stack:
        entrants = [(result, stack.enter_context(process())) for result in results]
        for result, other in entrants:
            tell(f"{case}: building and compiling {result.contender}")
            _ask(result, other, _build, case, result.contender)
        for turn in range(repeats):
            for result, other in entrants:
                tell(f"{case}: turn {turn + 1}/{repeats}, {result.contender}")
                if (seconds := _ask(result, other, _turn)) is not None:
                    result.seconds.append(seconds)
        for result, other in entrants:
            if peaks := _ask(result, other, _peaks):
                result.peak_megabytes, result.device_peak_megabytes = peaks
    return results


def process() -> Executor:
    """A new Python process that runs one call after the other."""
    return ProcessPoolExecutor(1, multiprocessing.get_context("spawn"))


def apart(function: Callable[..., T], *args: Any) -> T:
    """``function(*args)`` in a process of its own, so that this one stays small."""
    with process() as other:
        return other.submit(function, *args).result()


def _ask(result: Timing, other: Executor, function: Callable, *args: Any) -> Any:
    """The process's answer; None once the contender has failed, with the reason in its result."""
    if result.error is not None:
        return None
    try:
        answer, result.error = other.submit(_caught, function, *args).result()
    except Exception as error:  # the process died
        answer, result.error = None, _line(error)
    return answer


def _caught(function: Callable, *args: Any) -> tuple[Any, str | None]:
    """The answer and the error, which becomes a line here since not every exception travels."""
    try:
        return function(*args), None
    except Exception as error:
        return None, _line(error)


def _line(error: Exception) -> str:
    reason = (str(error).strip().splitlines() or [""])[0]
    return f"{type(error).__name__}: {reason}"[:200]


_built: Built
_calls: int


def _build(case: Case, contender: Contender) -> None:
    """In the contender's process: builds it and chooses how many calls make a turn."""
    global _built, _calls
    if contender in OURS or contender == "openvino":
        from experiments.benchmark import ours as side
    else:
        from experiments.benchmark import pytorch as side
    _built, _calls = side.build(case, contender), 1
    _turn()  # Compiles what isn't compiled yet.
    _calls = 1 + int(MIN_SECONDS / _turn())


def _turn() -> float:
    """Seconds per call, over several calls of which only the last is waited for."""
    start = time.perf_counter()
    for _ in range(_calls):
        outputs = _built.call()
    _built.wait(outputs)
    return (time.perf_counter() - start) / _calls


def _peaks() -> tuple[float, float | None]:
    """Megabytes: the most that this process has held so far, and held on the accelerator."""
    return peak_megabytes(), _built.device_peak()


def peak_megabytes() -> float:
    """The most memory that this process has held so far."""
    status = Path("/proc/self/status")
    if status.exists():  # Linux, where ru_maxrss would count what the parent held when it forked
        line = next(line for line in status.read_text().splitlines() if line.startswith("VmHWM"))
        held = 1024 * int(line.split()[1])
    else:
        import resource

        held = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        held *= 1 if sys.platform == "darwin" else 1024
    return held / 1e6
