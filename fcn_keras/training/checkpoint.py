"""Checkpoints of a run: the whole state of the step, and the run's progress, through orbax."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from pathlib import Path

import jax
import orbax.checkpoint as ocp

from fcn_keras.training.step import State

KEEP = 2


@dataclass
class Progress:
    """Where a run stands; with the state, all that it needs to go on.

    Attributes:
        step: Steps taken. The position in the data follows from it.
        loss_sum: Cross-entropy of this epoch so far, nats summed over labelled pixels.
        pixels: Labelled pixels of this epoch so far.
        seconds: Training time of this epoch so far.
        best_mean_iou: Best validation score, -1 before the first validation.
        rows: The rows of log.csv so far.
    """

    step: int = 0
    loss_sum: float = 0.0
    pixels: float = 0.0
    seconds: float = 0.0
    best_mean_iou: float = -1.0
    rows: list[dict] = field(default_factory=list)


class Checkpoints:
    """Saves and restores ``(state, progress)`` under ``directory/STEP``.

    Saving is atomic and runs in the background; a folder without its final name was never
    finished and is ignored. The last two are kept.
    """

    def __init__(self, directory: Path):
        options = ocp.CheckpointManagerOptions(max_to_keep=KEEP)
        self._manager = ocp.CheckpointManager(Path(directory).absolute(), options=options)

    def save(self, state: State, progress: Progress) -> None:
        self._manager.save(
            progress.step,
            args=ocp.args.Composite(
                state=ocp.args.StandardSave(state._asdict()),
                progress=ocp.args.JsonSave(asdict(progress)),
            ),
        )

    def restore(self, state: State) -> tuple[State, Progress] | None:
        """The newest checkpoint in the shape and placement of `state`; None if there is none."""
        step = self._manager.latest_step()
        if step is None:
            return None
        target = jax.tree.map(ocp.utils.to_shape_dtype_struct, state._asdict())
        restored = self._manager.restore(
            step,
            args=ocp.args.Composite(
                state=ocp.args.StandardRestore(target), progress=ocp.args.JsonRestore()
            ),
        )
        return State(**restored["state"]), Progress(**restored["progress"])

    def close(self) -> None:
        """Waits until everything is on disk."""
        self._manager.wait_until_finished()
        self._manager.close()
