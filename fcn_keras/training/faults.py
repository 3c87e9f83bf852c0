"""The ways in which a run ends early. Each message is one line that says what to do."""

from __future__ import annotations


class DivergedError(RuntimeError):
    """The loss or the weights became NaN or infinite."""


class SaveError(OSError):
    """Something of the run can't be written: no room, no right, no folder."""


class StoppedError(RuntimeError):
    """A signal asked the run to stop, and it did, with everything saved.

    Attributes:
        signal: Number of the signal, such as `signal.SIGTERM`.
        step: Steps taken; a resumed run goes on from here.
    """

    def __init__(self, signal: int, step: int):
        super().__init__(f"stopped by signal {signal} after step {step}")
        self.signal, self.step = signal, step


_REASONS = (
    "No space left on device",
    "Disk quota exceeded",
    "File too large",
    "Read-only file system",
    "Permission denied",
    "No such file or directory",
)


def reason(error: BaseException) -> str:
    """What went wrong while writing, in a few words out of a storage library's many lines."""
    text = str(error)
    for words in _REASONS:
        if words in text:
            return words
    return next(iter(text.splitlines()), type(error).__name__)[:200]
