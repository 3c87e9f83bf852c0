"""A process for each contender, and the turns they take."""

from __future__ import annotations

import multiprocessing
import os
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field, replace
from multiprocessing.connection import Connection

from experiments.benchmark.case import Case, Contender

MIN_SECONDS = 0.2
"""A turn repeats the call until it has taken this long."""

MEGABYTE = 1e6


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
        return statistics.median(self.seconds) if self.seconds else None


def compare(
    case: Case,
    contenders: Sequence[Contender],
    repeats: int,
    progress: Callable[[str], None] = lambda text: None,
) -> list[Result]:
    """Runs every contender `repeats` times, in turns, each in its own process."""
    workers = []
    try:
        for contender in contenders:
            progress(f"{case}: {contender} builds and compiles")
            workers.append(_Worker(case, contender))
        for turn in range(repeats):
            for worker in workers:
                progress(f"{case}: turn {turn + 1}/{repeats}, {worker.result.contender}")
                worker.turn()
        return [worker.finish() for worker in workers]
    finally:
        for worker in workers:
            worker.process.terminate()
            worker.process.join()


def largest(
    case: Case,
    contender: Contender,
    limit: int,
    progress: Callable[[str], None] = lambda text: None,
) -> list[tuple[int, Result]]:
    """Doubles the batch until the contender fails or `limit` is passed; a result for each batch."""
    results = []
    batch = case.batch
    while batch <= limit and not (results and results[-1][1].error):
        (result,) = compare(replace(case, batch=batch), [contender], 1, progress)
        results.append((batch, result))
        batch *= 2
    return results


def apart(function: Callable, *args):
    """``function(*args)`` in a process of its own, so that this one stays small."""
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
        return pool.submit(function, *args).result()


class _Worker:
    """The parent's end of one process."""

    def __init__(self, case: Case, contender: Contender):
        self.result = Result(contender)
        # A fresh interpreter: a forked one would share, and count, the parent's memory.
        context = multiprocessing.get_context("spawn")
        self.pipe, child = context.Pipe()
        self.process = context.Process(target=_serve, args=(child, case, contender), daemon=True)
        self.process.start()
        child.close()
        self.result.first_seconds = self._receive()

    def turn(self) -> None:
        if self.result.error is None:
            self.pipe.send("turn")
            seconds = self._receive()
            if seconds is not None:
                self.result.seconds.append(seconds)

    def finish(self) -> Result:
        if self.result.error is None:
            self.pipe.send("stop")
            memory = self._receive()
            if memory is not None:
                self.result.peak_megabytes, self.result.device_peak_megabytes = memory
        return self.result

    def _receive(self):
        """The child's answer; None where it failed, the reason being noted."""
        try:
            answer, self.result.error = self.pipe.recv()
        except EOFError:
            self.process.join()
            answer, self.result.error = None, f"process ended with {self.process.exitcode}"
        return answer


def _serve(pipe: Connection, case: Case, contender: Contender) -> None:
    """The child: builds once, then times calls on demand. Sends pairs (answer, error)."""
    try:
        start = time.perf_counter()
        call, wait, device_peak = _build(case, contender)
        wait(call())
        pipe.send((time.perf_counter() - start, None))
        count = 1 + int(MIN_SECONDS / _time(call, wait, 1))
        while pipe.recv() == "turn":
            pipe.send((_time(call, wait, count), None))
        pipe.send(((peak_megabytes(), device_peak()), None))
    except Exception as error:  # a contender that can't run is a row of the table
        reason = (str(error).strip().splitlines() or [""])[0]
        pipe.send((None, f"{type(error).__name__}: {reason}"[:200]))


def _build(case: Case, contender: Contender):
    """``call() -> outputs``, ``wait(outputs)``, and ``device_peak() -> megabytes or None``."""
    if contender.startswith("ours"):
        from experiments.benchmark import ours as side
    else:
        from experiments.benchmark import pytorch as side
    return side.build(case, contender)


def _time(call: Callable, wait: Callable, count: int) -> float:
    """Seconds a call, over `count` calls of which only the last is waited for."""
    start = time.perf_counter()
    for _ in range(count):
        outputs = call()
    wait(outputs)
    return (time.perf_counter() - start) / count


def peak_megabytes() -> float:
    """The most memory that this process has held so far."""
    try:
        with open("/proc/self/status") as status:
            lines = dict(line.split(":", 1) for line in status)
        return int(lines["VmHWM"].split()[0]) * 1024 / MEGABYTE
    except (OSError, KeyError):
        import resource

        unit = 1 if sys.platform == "darwin" else 1024
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / MEGABYTE


def cores() -> int:
    """The CPU cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
