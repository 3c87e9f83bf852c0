"""Stopping at the end of a step when the system or the user asks for it."""

from __future__ import annotations

import signal
import threading
from typing import Any

import jax
from jax.experimental import multihost_utils


class StopRequest:
    """A context that remembers SIGTERM and SIGINT until the run asks about them.

    A second SIGINT raises `KeyboardInterrupt` at once. With several processes a
    signal to any of them stops all at the same step: JAX's preemption service, which
    `jax.distributed.initialize` starts, takes SIGTERM and agrees on the step; SIGINT is handed to
    it. In a thread that isn't the main one, where Python allows no handlers, nothing is caught.
    """

    def __init__(self) -> None:
        self.signal = 0  # none yet
        self._before: dict[int, Any] = {}

    def __enter__(self) -> StopRequest:
        if threading.current_thread() is threading.main_thread():
            caught = {signal.SIGINT, signal.SIGTERM}
            if jax.process_count() > 1:
                caught.remove(signal.SIGTERM)
            self._before = {number: signal.signal(number, self._remember) for number in caught}
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def reached(self, step: int) -> bool:
        """Whether to stop after `step`. Several processes must ask after every step."""
        if jax.process_count() == 1:
            return self.signal != 0
        if multihost_utils.reached_preemption_sync_point(step):
            self.signal = self.signal or signal.SIGTERM
            return True
        return False

    def _remember(self, number: int, _: object) -> None:
        if number == signal.SIGINT and self.signal:
            raise KeyboardInterrupt
        self.signal = number
        if jax.process_count() > 1:
            signal.raise_signal(signal.SIGTERM)
