"""The ways in which a run can end early. Each message is one line that says what to do."""

from __future__ import annotations


class DivergedError(RuntimeError):
    """The loss or the weights became NaN or infinite."""


class StoppedError(RuntimeError):
    """A signal asked the run to stop, and it did, with everything saved.

    Attributes:
        signal: Number of the signal, such as `signal.SIGTERM`.
        step: Steps taken; a resumed run continues from here.
    """

    def __init__(self, signal: int, step: int):
        super().__init__(f"stopped by signal {signal} after step {step}")
        self.signal, self.step = signal, step
