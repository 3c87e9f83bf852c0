"""Training steps on batches from files, beside the same steps on one batch that stays."""

from __future__ import annotations

import contextlib
import statistics
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict

import jax

from experiments.benchmark import ours
from experiments.benchmark.case import Case
from experiments.benchmark.feeding import Feed, batches
from fcn_keras.data import open_dataset


def compare(
    case: Case, feed: Feed, repeats: int, seconds: float, progress: Callable[[str], None]
) -> dict:
    """Images a second of both, medians of `repeats` turns of `seconds` each."""
    progress("compiling")
    step, resident, state, _ = ours.trainer_parts(case)
    rates: dict[str, list[float]] = {"resident": [], "fed": []}
    with contextlib.closing(batches(feed)) as stream:
        fed = ({name: jax.device_put(batch[name]) for name in resident} for batch in stream)
        sources = {"resident": _same(resident), "fed": fed}
        for turn in range(repeats):
            for name, source in sources.items():
                progress(f"turn {turn + 1}/{repeats}: {name}")
                state, count, elapsed = _steps(step, state, source, seconds)
                rates[name].append(count * case.batch / elapsed)
    medians = {name: statistics.median(turns) for name, turns in rates.items()}
    return {
        "case": asdict(case),
        "workers": feed.workers,
        "images_per_second": medians,
        "share": medians["fed"] / medians["resident"],
        "turns": rates,
    }


def classes(feed: Feed) -> int:
    """The number of classes of the data set."""
    return len(open_dataset(feed.dataset, feed.data_dir, feed.split).classes)


def _same(batch: dict) -> Iterator[dict]:
    while True:
        yield batch


def _steps(step, state, source: Iterator[dict], seconds: float):
    """Steps for that long; each is waited for while the next one runs, as in training."""
    state, metrics = step(state, next(source))
    jax.block_until_ready(metrics)
    count, start = 0, time.perf_counter()
    while time.perf_counter() - start < seconds:
        before = metrics
        state, metrics = step(state, next(source))
        jax.block_until_ready(before)
        count += 1
    jax.block_until_ready(metrics)
    return state, count, time.perf_counter() - start
