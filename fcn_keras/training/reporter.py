"""What a run reports. The library itself prints nothing."""

from __future__ import annotations

from fcn_keras.evaluation import Scores


class Reporter:
    """Receives a run's events; every method may be overridden and does nothing here."""

    def message(self, text: str) -> None:
        """Something worth reading happened."""

    def training(self, epoch: int, step: int, last_step: int) -> None:
        """The training of `epoch`, counted from 1, starts after `step` and ends at `last_step`."""

    def step(self, step: int, loss: float, images: int) -> None:
        """Step number `step` ended; `loss` is its mean over labelled pixels, in nats."""

    def validating(self, done: int, total: int) -> None:
        """`done` of `total` validation images are done."""

    def epoch(self, row: dict, scores: Scores, best: bool) -> None:
        """An epoch ended with this row of log.csv; `best` if its model was kept."""


class Reporters(Reporter):
    """Passes every event to several reporters in turn."""

    def __init__(self, *reporters: Reporter):
        self.reporters = reporters

    def message(self, text: str) -> None:
        for reporter in self.reporters:
            reporter.message(text)

    def training(self, epoch: int, step: int, last_step: int) -> None:
        for reporter in self.reporters:
            reporter.training(epoch, step, last_step)

    def step(self, step: int, loss: float, images: int) -> None:
        for reporter in self.reporters:
            reporter.step(step, loss, images)

    def validating(self, done: int, total: int) -> None:
        for reporter in self.reporters:
            reporter.validating(done, total)

    def epoch(self, row: dict, scores: Scores, best: bool) -> None:
        for reporter in self.reporters:
            reporter.epoch(row, scores, best)
