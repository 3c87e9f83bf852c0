"""Training steps on batches from files, beside the same steps on one batch that stays."""

from __future__ import annotations

import contextlib
import itertools
import statistics
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace

import jax

from experiments.benchmark import ours
from experiments.benchmark.case import Case, Networks, Tell
from experiments.benchmark.files import Files


@dataclass(frozen=True, kw_only=True)
class Fed(Networks, Files):
    """Training steps fed from files, beside the same steps on a batch that stays on the device."""

    workers: int = 0  # Processes that read and augment images; 0 uses threads of this one.

    def run(self, tell: Tell) -> Iterator[tuple[str, dict]]:
        """Yields a line and the figures of each case."""
        classes = len(self.open().classes)
        for case in self.cases("train"):
            case = replace(case, num_classes=classes)
            turns = self._turns(case, tell)
            rates = {name: statistics.median(each) for name, each in turns.items()}
            share = rates["fed"] / rates["resident"]
            line = (
                f"{case}: {rates['resident']:.1f} images/s on a batch that stays, "
                f"{rates['fed']:.1f} from {self.dataset} with {self.workers} workers: {share:.0%}"
            )
            yield (
                line,
                {
                    "case": asdict(case),
                    "workers": self.workers,
                    "images_per_second": rates,
                    "share": share,
                    "turns": turns,
                },
            )

    def _turns(self, case: Case, tell: Tell) -> dict[str, list[float]]:
        """Images a second of both."""
        tell("compiling")
        step, resident, state, _ = ours.trainer(case)
        rates: dict[str, list[float]] = {"resident": [], "fed": []}
        with contextlib.closing(self.stream(case.size, case.batch, self.workers)) as stream:
            fed = ({name: jax.device_put(batch[name]) for name in resident} for batch in stream)
            sources = {"resident": itertools.repeat(resident), "fed": fed}
            for turn in range(self.repeats):
                for name, source in sources.items():
                    tell(f"turn {turn + 1}/{self.repeats}: {name}")
                    state, count, elapsed = _steps(step, state, source, self.seconds)
                    rates[name].append(count * case.batch / elapsed)
        return rates


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
