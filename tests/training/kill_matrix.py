"""Kills training runs with SIGKILL, resumes them, and compares them with one that never stopped.

    python -m tests.training.kill_matrix [--random 20] [--seed 0]

Every run and every resumption is a process of its own. A case passes if the whole state of the
last checkpoint (weights, moments, moving average, batch statistics, dropout seeds), the weights of
the best model and the rows of log.csv (times aside) are those of the uninterrupted run, bit by bit.
"""

from __future__ import annotations

import argparse
import csv
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
WORKER = "tests.training.kill_worker"
TIMES = ("train_seconds", "val_seconds", "images_per_second")
EPOCHS, EPOCH_STEPS = 4, 6
LAST_STEP = EPOCHS * EPOCH_STEPS
# A moment is an event of the worker's reporter, or what the parent waits for by itself.
FIXED = {
    "first step": ["step 1"],
    "mid-epoch": ["step 9"],
    "checkpoint write": ["write 8"],
    "last checkpoint write": [f"write {LAST_STEP}"],
    "epoch's end": ["validating 0 of epoch 2"],
    "validation": ["validating 2 of epoch 2"],
    "after validation": ["epoch 2"],
    "four kills": ["step 3", "write 8", "validating 1 of epoch 2", "step 19"],
    "two workers": ["step 3", "write 8", "validating 1 of epoch 2", "step 19"],
}
WORKERS = {"two workers": 2}  # processes that read; the others read in threads


@dataclass
class Outcome:
    """What came of one case: where its kills fell, and what differs, if anything."""

    name: str
    kills: list[str]
    differences: list[str]

    def __str__(self) -> str:
        verdict = "bit-equal" if not self.differences else "DIFFERS: " + "; ".join(self.differences)
        return f"{self.name:24} {verdict:12} killed {', then '.join(self.kills)}"


class Matrix:
    """Runs the cases in `folder`, which also keeps the data and the compiled programs."""

    def __init__(self, folder: Path):
        self.folder = folder
        self.environment = {
            "JAX_COMPILATION_CACHE_DIR": str(folder / "jit"),
            **os.environ,
            "KERAS_BACKEND": "jax",
            "JAX_PLATFORMS": "cpu",
            "NO_ALBUMENTATIONS_UPDATE": "1",
            "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
        }
        self.workers = 0
        self.whole = folder / "whole"
        self._finish(self.whole)
        # Again, with everything compiled, for the time.
        worker, started = self._start(folder / "timed"), time.perf_counter()
        self._wait_for_folder(worker, folder / "timed", started)
        begun = time.perf_counter()
        worker.wait(600)
        self.seconds = time.perf_counter() - begun
        self.expected = read_run(self.whole)

    def case(self, name: str, moments: list[str | float]) -> Outcome:
        """Kills a run at each of `moments` in turn, then lets it end.

        A moment is an event such as "step 3", "write 8" for the time in which that checkpoint is
        being written, or a number of seconds after the run folder has appeared.
        """
        run, kills = self.folder / name.replace(" ", "-"), []
        self.workers = WORKERS.get(name, 0)
        for moment in moments:
            kills.append(self._kill(run, moment))
        self._finish(run)
        return Outcome(name, kills, differences(self.expected, read_run(run)))

    def _start(self, run: Path, kill_at: str = "") -> subprocess.Popen:
        with (self.folder / f"{run.name}.txt").open("ab") as log:
            return subprocess.Popen(
                [sys.executable, "-m", WORKER, str(run), kill_at, str(self.workers)],
                cwd=ROOT,
                env=self.environment,
                stdout=log,
                stderr=log,
            )

    def _kill(self, run: Path, moment: str | float) -> str:
        if isinstance(moment, str) and not moment.startswith("write"):
            worker = self._start(run, moment)
            if worker.wait(600) != -signal.SIGKILL:
                raise RuntimeError(f"{run.name} was not killed at {moment}: {self._output(run)}")
            return f"at {moment}"
        worker, started = self._start(run), time.perf_counter()
        if isinstance(moment, str):
            step = moment.split()[1]
            while worker.poll() is None and not list(run.glob(f"checkpoints/{step}.*tmp*")):
                time.sleep(0.0005)
        else:
            self._wait_for_folder(worker, run, started)
            time.sleep(moment)
        worker.kill()
        worker.wait(600)
        writing = [path.name.split(".")[0] for path in run.glob("checkpoints/*tmp*")]
        saved = [int(path.name) for path in run.glob("checkpoints/*") if path.name.isdigit()]
        where = f"behind checkpoint {max(saved)}" if saved else "before any checkpoint"
        return where + (f", writing {', '.join(writing)}" if writing else "")

    def _wait_for_folder(self, worker: subprocess.Popen, run: Path, started: float) -> None:
        while not (run / "config.json").exists():
            if worker.poll() is not None or time.perf_counter() - started > 600:
                raise RuntimeError(f"{run.name} did not start: {self._output(run)}")
            time.sleep(0.001)

    def _finish(self, run: Path) -> None:
        if self._start(run).wait(600):
            raise RuntimeError(f"{run.name} could not go on: {self._output(run)}")

    def _output(self, run: Path) -> str:
        return (self.folder / f"{run.name}.txt").read_text()[-2000:]


def read_run(run: Path) -> dict:
    """The last checkpoint's arrays, the best model's, and the log's rows without times."""
    import jax
    import keras
    import numpy as np
    import orbax.checkpoint as ocp

    import fcn_keras  # noqa: F401  (registers the layers)

    with ocp.StandardCheckpointer() as checkpointer:
        state = checkpointer.restore((run / "checkpoints" / str(LAST_STEP) / "state").absolute())
    leaves = {jax.tree_util.keystr(k): np.array(v) for k, v in jax.tree.leaves_with_path(state)}
    best = keras.models.load_model(run / "best.keras").get_weights()
    with (run / "log.csv").open(newline="") as file:
        rows = [{k: v for k, v in row.items() if k not in TIMES} for row in csv.DictReader(file)]
    return {"state": leaves, "best": {str(i): w for i, w in enumerate(best)}, "log": rows}


def differences(expected: dict, found: dict) -> list[str]:
    """What is not bit-equal, in words."""
    texts = []
    for part in ("state", "best"):
        a, b = expected[part], found[part]
        other = [name for name in a.keys() | b.keys() if not _same(a.get(name), b.get(name))]
        if other:
            texts.append(f"{len(other)} of {len(a)} arrays of {part}")
    if expected["log"] != found["log"]:
        texts.append("log.csv")
    return texts


def _same(a, b) -> bool:
    return a is not None and b is not None and a.dtype == b.dtype and a.tobytes() == b.tobytes()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--random", type=int, default=20, help="kills at random moments")
    parser.add_argument("--seed", type=int, default=0, help="of the random moments")
    options = parser.parse_args()
    rng = random.Random(options.seed)
    with tempfile.TemporaryDirectory(prefix="kill-matrix-") as folder:
        matrix = Matrix(Path(folder))
        print(f"The uninterrupted run takes {matrix.seconds:.1f} s from its folder to its end.")
        cases = dict(FIXED)
        for index in range(options.random):
            cases[f"random {index + 1}"] = [rng.uniform(0, matrix.seconds)]
        outcomes = []
        for name, moments in cases.items():
            outcomes.append(matrix.case(name, moments))
            print(outcomes[-1], flush=True)
    kills = sum(len(outcome.kills) for outcome in outcomes)
    equal = sum(not outcome.differences for outcome in outcomes)
    print(f"{kills} kills in {len(outcomes)} runs: {equal} of {len(outcomes)} runs bit-equal")
    sys.exit(equal != len(outcomes))


if __name__ == "__main__":
    main()
