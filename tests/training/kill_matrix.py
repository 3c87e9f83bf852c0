"""Kills training runs with SIGKILL, resumes them, and compares them with one that never stopped.

    python -m tests.training.kill_matrix [--random 20] [--storms 0] [--jobs 1] [--seed 0]

Every run and every resumption is a process of its own, forked from one that has only imported the
packages. A case passes if the whole state of the last checkpoint (weights, moments, moving average,
batch statistics, dropout seeds), the weights of the best model and the rows of log.csv (times
aside) are those of the uninterrupted run, bit by bit, and the folder holds the same files.
"""

from __future__ import annotations

import argparse
import csv
import importlib
import multiprocessing
import random
import re
import signal
import sys
import tempfile
import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from multiprocessing.process import BaseProcess
from pathlib import Path

from fcn_keras.data.shapes import write_shapes

# Imported by its processes alone: it hides torch, and chooses the backend.
WORKER = "tests.training.kill_worker"
EPOCHS, EPOCH_STEPS = 4, 6
TIMES = ("train_seconds", "val_seconds", "images_per_second")
LAST_STEP = EPOCHS * EPOCH_STEPS
# A moment is an event of the worker, or what the parent waits for by itself.
FIXED = {
    "first step": ["step 1"],
    "mid-epoch": ["step 9"],
    "checkpoint write": ["write 8"],
    "last checkpoint write": [f"write {LAST_STEP}"],
    "epoch's end": ["validating 0 of epoch 2"],
    "validation": ["validating 2 of epoch 2"],
    "after validation": ["epoch 2"],
    "four kills": ["step 3", "write 8", "validating 1 of epoch 2", "step 19"],
    "two workers": ["write 8", "validating 1 of epoch 2"],
}
STORM = 8  # kills at most, of one run
CHANGES = 120  # a process in a storm is killed at one of so many changes; a run makes some 490
# Kinds of files in messages such as "change 17: open runs/a/.best-123.keras".
KINDS = (
    ("checkpoints", "a checkpoint's files"),
    (".best", "best.keras"),
    (".log", "log.csv"),
    (".last_row", "last_row.json"),
    (".config", "config.json"),
    (".data", "data.json"),
    ("lock", "the lock"),
    ("folder", "the folder itself"),
    ("", "removal of an older checkpoint"),
)


@dataclass
class Outcome:
    """What came of one case: where its kills fell, and what differs, if anything."""

    name: str
    kills: list[str]
    differences: list[str]

    def __str__(self) -> str:
        verdict = "bit-equal" if not self.differences else "DIFFERS: " + "; ".join(self.differences)
        return f"{self.name:24} {verdict:12} killed {', then '.join(self.kills)}"


def worker(run: Path, kill_at: str, workers: int) -> None:
    """Trains in `run`; see the module."""
    importlib.import_module(WORKER).main(run, kill_at, workers, EPOCHS)


class Matrix:
    """Runs the cases in `folder`, which also keeps the data and the compiled programs."""

    def __init__(self, folder: Path):
        self.folder = folder
        self._context = multiprocessing.get_context("forkserver")
        self._context.set_forkserver_preload([WORKER])
        self._reading = threading.Lock()
        write_shapes(folder / "data", train=2 * EPOCH_STEPS, val=4, size=48)
        for name in ("whole", "timed"):  # the second with everything compiled
            begun = time.perf_counter()
            self._finish(folder / name, 0)
            self.seconds = time.perf_counter() - begun
        self.expected = read_run(folder / "whole")

    def case(self, name: str, moments: list[str | float], workers: int | None = None) -> Outcome:
        """Kills a run at each of `moments` in turn, as long as it lasts, then lets it end.

        A moment is an event such as "step 3" or "change 17", "write 8" for the time in which that
        checkpoint is being written, or a number of seconds after the process has begun.
        """
        run, kills = self.folder / name.replace(" ", "-"), []
        if workers is None:
            workers = 2 if name == "two workers" else 0  # processes that read; or threads
        for moment in moments:
            where = self._kill(run, moment, workers)
            if where is None:
                break
            kills.append(where)
        self._finish(run, workers)
        with self._reading:
            return Outcome(name, kills, differences(self.expected, read_run(run)))

    def storm(self, name: str, rng: random.Random) -> Outcome:
        """Kills a run again and again, at moments of its time or before changes of its folder."""
        moments = [
            rng.choice((rng.uniform(0, self.seconds), f"change {rng.randint(1, CHANGES)}"))
            for _ in range(STORM)
        ]
        return self.case(name, moments, rng.choice((0, 0, 2)))

    def _start(self, run: Path, workers: int, kill_at: str = "") -> BaseProcess:
        process = self._context.Process(target=worker, args=(run, kill_at, workers))
        process.start()
        return process

    def _kill(self, run: Path, moment: str | float, workers: int) -> str | None:
        """Where the kill fell; None if the run was over before."""
        if isinstance(moment, str) and not moment.startswith("write"):
            process = self._start(run, workers, moment)
            process.join()
            if process.exitcode == -signal.SIGKILL:
                return self._change(run) if moment.startswith("change") else f"at {moment}"
        else:
            process, begun = self._start(run, workers), time.perf_counter()
            while process.is_alive() and not self._is_time(run, moment, begun):
                time.sleep(0.0005)
            process.kill()
            process.join()
            if process.exitcode == -signal.SIGKILL:
                return _progress(run)
        if process.exitcode or (isinstance(moment, str) and not moment.startswith("change")):
            raise RuntimeError(f"{run.name} was not killed at {moment}: {self._output(run)}")
        return None

    @staticmethod
    def _is_time(run: Path, moment: str | float, begun: float) -> bool:
        if isinstance(moment, str):
            return bool(list(run.glob(f"checkpoints/{moment.split()[1]}.*tmp*")))
        return time.perf_counter() - begun >= moment

    def _change(self, run: Path) -> str:
        """The kind of file before whose change the kill fell."""
        last = re.findall(r"^change \d+: (\S+) (.*)$", self._output(run), re.MULTILINE)[-1]
        path = last[1].removeprefix(str(run)) or "folder"
        return "before a change of " + next(text for word, text in KINDS if word in path)

    def _finish(self, run: Path, workers: int) -> None:
        process = self._start(run, workers)
        process.join()
        if process.exitcode:
            raise RuntimeError(f"{run.name} could not go on: {self._output(run)}")

    def _output(self, run: Path) -> str:
        return (self.folder / f"{run.name}.txt").read_text()[-3000:]


def _progress(run: Path) -> str:
    """How far a killed run had come, by its folder."""
    if not (run / "config.json").exists():
        return "before the folder was there"
    writing = [path.name.split(".")[0] for path in run.glob("checkpoints/*tmp*")]
    saved = [int(path.name) for path in run.glob("checkpoints/*") if path.name.isdigit()]
    where = f"behind checkpoint {max(saved)}" if saved else "before any checkpoint"
    return where + (f", writing {', '.join(writing)}" if writing else "")


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
    files = {path.name for path in (*run.iterdir(), *run.glob("checkpoints/*"))}
    return {
        "files": files,
        "state": leaves,
        "best": {str(i): w for i, w in enumerate(best)},
        "log": rows,
    }


def differences(expected: dict, found: dict) -> list[str]:
    """What is not bit-equal, in words."""
    texts = []
    for part in ("state", "best"):
        a, b = expected[part], found[part]
        other = [name for name in a.keys() | b.keys() if not _same(a.get(name), b.get(name))]
        if other:
            texts.append(f"{len(other)} of {len(a)} arrays of {part}")
    if other := expected["files"] ^ found["files"]:
        texts.append(f"files {', '.join(sorted(other))}")
    if expected["log"] != found["log"]:
        texts.append("log.csv")
    return texts


def _same(a, b) -> bool:
    return a is not None and b is not None and a.dtype == b.dtype and a.tobytes() == b.tobytes()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--fixed", action=argparse.BooleanOptionalAction, default=True)
    parser.add_argument("--random", type=int, default=20, help="kills at random moments")
    parser.add_argument("--storms", type=int, default=0, help="runs that are killed up to 8 times")
    parser.add_argument("--jobs", type=int, default=1, help="runs at a time")
    parser.add_argument("--seed", type=int, default=0, help="of the random moments")
    options = parser.parse_args()
    rng = random.Random(options.seed)
    with (
        tempfile.TemporaryDirectory(prefix="kill-matrix-") as folder,
        ThreadPoolExecutor(options.jobs) as pool,
    ):
        matrix = Matrix(Path(folder))
        print(f"The uninterrupted run takes {matrix.seconds:.1f} s from its folder to its end.")
        fixed = FIXED.items() if options.fixed else ()
        cases = [pool.submit(matrix.case, *case) for case in fixed]
        for index in range(options.random):
            moments = [rng.uniform(0, matrix.seconds)]
            cases.append(pool.submit(matrix.case, f"random {index + 1}", moments))
        for index in range(options.storms):
            seed = random.Random(rng.random())
            cases.append(pool.submit(matrix.storm, f"storm {index + 1}", seed))
        outcomes = []
        for case in cases:
            outcomes.append(case.result())
            print(outcomes[-1], flush=True)
    for where, count in Counter(kill for one in outcomes for kill in one.kills).most_common():
        print(f"{count:5} {where}")
    kills = sum(len(outcome.kills) for outcome in outcomes)
    equal = sum(not outcome.differences for outcome in outcomes)
    print(f"{kills} kills in {len(outcomes)} runs: {equal} of {len(outcomes)} runs bit-equal")
    sys.exit(equal != len(outcomes))


if __name__ == "__main__":
    main()
