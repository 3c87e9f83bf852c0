"""How long a user waits for the first segmented image, from the start of the process."""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from experiments.benchmark.case import Case, installed

# Keep every program, however quickly it compiled.
CACHE_SETTINGS = {
    "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
    "JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES": "-1",
}


@dataclass(frozen=True)
class Start:
    """One way to start: the model's file and the folder of JAX's compilation cache, if any."""

    name: str
    model: Path
    cache: Path | None = None
    empty_first: bool = False


def compare(case: Case, repeats: int, progress: Callable[[str], None]) -> list[dict]:
    """Seconds of each start and its parts, in turns, medians."""
    with tempfile.TemporaryDirectory() as folder:
        progress("saving the model")
        starts = _starts(case, Path(folder))
        runs: dict[str, list[dict]] = {start.name: [] for start in starts}
        for turn in range(repeats):
            for start in starts:
                progress(f"turn {turn + 1}/{repeats}: {start.name}")
                runs[start.name].append(_run(start, case.size))
    return [
        {"start": name, **{part: statistics.median(run[part] for run in each) for part in each[0]}}
        for name, each in runs.items()
    ]


def _starts(case: Case, folder: Path) -> list[Start]:
    from fcn_keras import models

    ours = folder / "model.keras"
    getattr(models, case.model)(
        case.num_classes, trunk_width=case.trunk_width, head_width=case.head_width
    ).save(ours)
    starts = [
        Start("ours, no cache", ours),
        Start("ours, first with a cache", ours, folder / "cache", empty_first=True),
        Start("ours, second with a cache", ours, folder / "cache"),
    ]
    if installed("torch"):
        starts.append(Start("torch", _saved_torch(case, folder / "model.pt")))
    return starts


def _saved_torch(case: Case, path: Path) -> Path:
    import torch

    from experiments.benchmark.torch_fcn import TorchFCN

    options = {
        "model": case.model,
        "classes": case.num_classes,
        "width": case.trunk_width,
        "head": case.head_width,
    }
    torch.save({"options": options, "state": TorchFCN(**options).state_dict()}, path)
    return path


def _run(start: Start, size: int) -> dict[str, float]:
    environment = {k: v for k, v in os.environ.items() if k != "JAX_COMPILATION_CACHE_DIR"}
    if start.cache is not None:
        start.cache.mkdir(exist_ok=True)
        if start.empty_first:
            for file in start.cache.iterdir():
                file.unlink()
        environment |= {"JAX_COMPILATION_CACHE_DIR": str(start.cache), **CACHE_SETTINGS}
    module = "experiments.benchmark.first_result"
    began = time.perf_counter()
    done = subprocess.run(
        [sys.executable, "-m", module, str(start.model), str(size)],
        env=environment,
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    total = time.perf_counter() - began
    parts = json.loads(done.stdout.splitlines()[-1])
    second = parts.pop("second result")
    # The process start and end belong to what a user waits for, the second image doesn't.
    return {"total": total - second, **parts, "second result": second}
