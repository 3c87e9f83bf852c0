"""Gives damaged files to a reader, in processes of its own, and counts what comes of it."""

from __future__ import annotations

import importlib
import multiprocessing
import tempfile
from collections import Counter
from pathlib import Path

# Imported by its processes alone: it hides torch, and chooses the backend.
WORKER = "tests.fuzz.worker"


def worker(*arguments) -> None:
    """Runs cases in this process."""
    importlib.import_module(WORKER).main(*arguments)


def fuzz(reader: str, seed: int, count: int) -> tuple[Counter, list[str]]:
    """Runs `count` cases; returns how many had which outcome, and a line for each defect."""
    outcomes, defects, done = Counter(), [], 0
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([WORKER])
    with tempfile.TemporaryDirectory(prefix="fuzz-") as folder:
        told = Path(folder, "outcomes.txt")
        while done < count:
            told.write_text("")
            process = context.Process(target=worker, args=(reader, folder, seed, done, count))
            process.start()
            process.join()
            lines = told.read_text().splitlines()
            for line in lines:
                done, outcome = int(line.split()[0]) + 1, line.split(maxsplit=1)[1]
                outcomes[outcome if outcome in ("read", "refused") else "defect"] += 1
                if outcome not in ("read", "refused"):
                    defects.append(f"{reader}, case {done - 1}: {outcome}")
            if process.exitcode:
                if not lines and not done and process.exitcode > 0:
                    raise RuntimeError(f"the cases of {reader} could not begin")
                defects.append(f"{reader}, case {done}: ended with status {process.exitcode}")
                outcomes["defect"] += 1
                done += 1
    return outcomes, defects
