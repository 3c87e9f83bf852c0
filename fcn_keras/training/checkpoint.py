"""Checkpoints of a run: the whole state of the step, and the run's progress, through orbax."""

from __future__ import annotations

import contextlib
import itertools
import json
import zlib
from collections.abc import Callable, Collection
from dataclasses import asdict, dataclass, field
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import orbax.checkpoint as ocp
from jax.experimental import multihost_utils

from fcn_keras.errors import InputError
from fcn_keras.storage import SaveError, reason
from fcn_keras.training.faults import DivergedError
from fcn_keras.training.step import State

KEEP = 2


@dataclass
class RunProgress:
    """How far a run has come. With the state, this is all that resuming needs.

    Attributes:
        step: Steps taken. The position in the data follows from it.
        loss_sum: Cross-entropy of this epoch so far, nats summed over labelled pixels.
        pixels: Labelled pixels of this epoch so far.
        seconds: Training time of this epoch so far.
        rows: The rows of log.csv so far, one for each validation.
        best_from: Rows that don't count for the best model, since it was lost after them.
    """

    step: int = 0
    loss_sum: float = 0.0
    pixels: float = 0.0
    seconds: float = 0.0
    rows: list[dict] = field(default_factory=list)
    best_from: int = 0

    @property
    def best_mean_iou(self) -> float:
        """Best validation score; -1 before the first validation."""
        return max((row["mean_iou"] for row in self.rows[self.best_from :]), default=-1.0)

    def close_epoch(self, row: dict) -> None:
        """Adds the row of the epoch that has ended."""
        self.rows.append(row)
        self.loss_sum = self.pixels = self.seconds = 0.0


class Checkpoints:
    """Saves and restores ``(state, progress)`` under ``directory/STEP``; the last two are kept.

    `save` copies the state to the host and writes it in the background. A checkpoint gets its
    name once it is complete, and only then is an older one deleted. Checksums detect any damage.
    With several processes all call every method; only process 0 writes, and each reads for itself.
    """

    def __init__(self, directory: Path):
        self.directory = Path(directory).absolute()
        self._unfinished = {p.name.split(".")[0] for p in self.directory.glob("*.*tmp*")}
        self._process = jax.process_index()
        with self._writing():
            if self._process == 0:
                self.directory.mkdir(exist_ok=True)
            self._manager = ocp.CheckpointManager(
                self.directory,
                options=ocp.CheckpointManagerOptions(
                    max_to_keep=KEEP,
                    create=False,
                    cleanup_tmp_directories=self._process == 0,
                    # By default orbax makes processes wait for each other, and all of them write.
                    multiprocessing_options=ocp.options.MultiprocessingOptions(
                        primary_host=self._process,
                        active_processes={self._process},
                        barrier_sync_key_prefix=f"process{self._process}",
                    ),
                ),
            )

    def save(self, state: State, progress: RunProgress) -> None:
        """Starts to write a checkpoint; returns once `state` may be donated.

        Raises:
            DivergedError: the state holds NaN or infinity; nothing is written.
            SaveError: this checkpoint, or the one before, can't be written.
        """
        bits, finite = jax.device_get(_inspect(state))
        if not finite:
            raise DivergedError(
                f"the weights after step {progress.step} are not finite: lower `learning_rate`, "
                f"or set `clip_norm`. {self._last()}"
            )
        if self._process:
            return
        record = asdict(progress)
        record["checksums"] = [int(bits), checksum(record)]
        with self._writing():
            if not self.directory.is_dir():  # orbax would recreate it
                raise FileNotFoundError
            self._manager.save(
                progress.step,
                args=ocp.args.Composite(
                    state=ocp.args.StandardSave(jax.device_get(state)._asdict()),
                    progress=ocp.args.JsonSave(record),
                ),
            )

    def check(self) -> None:
        """Raises `SaveError` if writing in the background has failed."""
        with self._writing():
            self._manager.check_for_errors()

    def restore(
        self, state: State, warn: Callable[[str], None] = lambda _: None
    ) -> tuple[State, RunProgress] | None:
        """The newest whole checkpoint in the shape and placement of `state`; None if there is none.

        `warn` is called for unfinished ones and for damaged ones, which are moved aside.

        Raises:
            InputError: there are checkpoints, but all are damaged.
        """
        for name in self._unfinished:
            warn(f"Warning: checkpoint {name} was never finished; it is ignored.")
        damaged = {}
        for step in sorted(self._manager.all_steps(), reverse=True):
            try:
                restored = self._read(step, state)
            except Exception as error:  # orbax raises many kinds of exceptions
                damaged[step] = reason(error)
                continue
            for bad, why in damaged.items():
                warn(f"Warning: checkpoint {bad} is damaged ({why}); going back to step {step}.")
            self._set_aside(damaged)
            return restored
        if damaged:
            step, why = next(iter(damaged.items()))
            raise InputError(
                f"no checkpoint in {self.directory} can be read (number {step}: {why}): start "
                "again in another workdir"
            )
        return None

    def wait(self) -> None:
        """Waits until everything is on disk.

        Raises:
            SaveError: the last checkpoint can't be written.
        """
        with self._writing():
            self._manager.wait_until_finished()

    def close(self) -> None:
        """Waits as `wait` does, and ends orbax's threads."""
        self.wait()
        self._manager.close()

    def _read(self, step: int, state: State) -> tuple[State, RunProgress]:
        target = jax.tree.map(lambda x: np.empty(x.shape, x.dtype), state._asdict())
        restored = self._manager.restore(
            step,
            args=ocp.args.Composite(
                state=ocp.args.StandardRestore(target), progress=ocp.args.JsonRestore()
            ),
        )
        shardings = jax.tree.map(lambda x: x.sharding, state)
        state = jax.device_put(State(**restored["state"]), shardings)
        record = restored["progress"]
        expected = record.pop("checksums")
        if [int(_inspect(state)[0]), checksum(record)] != expected:
            raise ValueError("its checksum differs")
        return state, RunProgress(**record)

    def _set_aside(self, steps: Collection[int]) -> None:
        """Renames checkpoints: their numbers are needed again, and users may want to see them."""
        if not steps:
            return
        if jax.process_count() > 1:
            multihost_utils.sync_global_devices("all have read")
        if self._process == 0:
            for step in steps:
                (self.directory / str(step)).rename(self._free_name(f"damaged-{step}"))
            self._manager.reload()

    def _free_name(self, name: str) -> Path:
        """`name`, with a number appended if it is taken."""
        names = itertools.chain([name], (f"{name}-{n}" for n in itertools.count(2)))
        return next(path for path in map(self.directory.joinpath, names) if not path.exists())

    def _last(self) -> str:
        steps = [int(path.name) for path in self.directory.glob("*") if path.name.isdigit()]
        return f"The checkpoint of step {max(steps)} is intact." if steps else "There is none yet."

    @contextlib.contextmanager
    def _writing(self):
        try:
            yield
        except Exception as error:  # orbax raises many kinds of exceptions
            if not self.directory.is_dir():
                raise SaveError(
                    f"checkpoint folder {self.directory} was deleted or moved during the run: "
                    "put it back and resume, or start again in a new folder"
                ) from error
            raise SaveError(
                f"a checkpoint can't be written to {self.directory} ({reason(error)}): fix this, "
                f"then resume. {self._last()}"
            ) from error


@jax.jit
def _inspect(state: State) -> tuple[jax.Array, jax.Array]:
    """A checksum of the state's bits, and whether all its numbers are finite.

    Each 32-bit word is weighted by an odd number that depends on its position, so that no single
    changed word goes unnoticed. Sums of integers don't depend on the order, nor on the devices.
    """
    checksum, finite = jnp.uint32(0), jnp.bool(True)
    for array in jax.tree.leaves(state):
        words = jax.lax.bitcast_convert_type(array, jnp.uint32).ravel()
        weights = 2 * jnp.arange(words.size, dtype=jnp.uint32) + 1
        checksum = 31 * checksum + jnp.sum(words * weights, dtype=jnp.uint32)
        finite &= jnp.all(jnp.isfinite(array))
    return checksum, finite


def checksum(record: dict) -> int:
    """The CRC-32 of something that JSON can hold."""
    return zlib.crc32(json.dumps(record, sort_keys=True).encode())
