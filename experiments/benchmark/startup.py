"""How long a user waits for the first segmented image, from the start of the process."""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

from rich.table import Table

from experiments.benchmark.case import Case, Networks, Tell, installed
from experiments.benchmark.tables import table
from fcn_keras import models

PARTS = ("import", "load", "first result", "second result")
# What a user's program does, a statement a part; the last one is run twice.
OURS = (
    "import fcn_keras, numpy",
    "segment = fcn_keras.Segmenter({path!r})",
    "segment(numpy.full(({size}, {size}, 3), 100, numpy.uint8))",
)
TORCH = (
    "import torch; from experiments.benchmark.torch_fcn import FCN",
    "model = FCN({model!r}, {classes}, width={width}, head={head}).eval();"
    " model.load_state_dict(torch.load({path!r})); torch.set_grad_enabled(False)",
    "model(torch.full((1, 3, {size}, {size}), 100, dtype=torch.uint8)).argmax(1).numpy()",
)


@dataclass(frozen=True, kw_only=True)
class Startup(Networks):
    """A fresh process until its first segmented image, with and without a compilation cache."""

    def run(self, tell: Tell) -> Iterator[tuple[Table, dict]]:
        """Yields each case's table and figures."""
        for case in self.cases("predict"):
            turns: dict[str, list[dict]] = {}
            with tempfile.TemporaryDirectory() as folder:
                tell("saving the model")
                ours, torch = _save(case, Path(folder))
                for turn in range(self.repeats):
                    starts = {
                        "ours, no cache": (ours, None),
                        "ours, first with a cache": (ours, f"{folder}/cache{turn}"),
                        "ours, second with a cache": (ours, f"{folder}/cache{turn}"),
                    }
                    if torch:
                        starts["torch"] = (torch, None)
                    for name, start in starts.items():
                        tell(f"turn {turn + 1}/{self.repeats}: {name}")
                        turns.setdefault(name, []).append(_start(*start))
            rows = [{"start": name, **_medians(runs)} for name, runs in turns.items()]
            yield table(f"{case}; seconds", rows), {"case": asdict(case), "starts": rows}


def _medians(runs: list[dict[str, float]]) -> dict[str, float]:
    return {name: statistics.median(run[name] for run in runs) for name in runs[0]}


def _save(case: Case, folder: Path) -> tuple[list[str], list[str]]:
    """Writes the models into `folder`. Returns our statements, and torch's, none without it."""
    path = folder / "model.keras"
    widths = {"backbone_width": case.backbone_width, "head_width": case.head_width}
    getattr(models, case.model)(case.num_classes, **widths).save(path)
    ours = [statement.format(path=str(path), size=case.size) for statement in OURS]
    if not installed("torch"):
        return ours, []
    import torch

    from experiments.benchmark.torch_fcn import FCN

    path = folder / "model.pt"
    options = {"model": case.model, "classes": case.num_classes}
    options |= {"width": case.backbone_width, "head": case.head_width}
    torch.save(FCN(**options).state_dict(), path)
    values = {**options, "path": str(path), "size": case.size}
    return ours, [statement.format(**values) for statement in TORCH]


def _start(statements: list[str], cache: str | None) -> dict[str, float]:
    """Runs the statements in a process of their own. Returns the seconds of the parts, and of all.

    The start and end of the process belong to what a user waits for, the second image doesn't.
    """
    environment = {k: v for k, v in os.environ.items() if k != "JAX_COMPILATION_CACHE_DIR"}
    if cache is not None:  # every program, however quickly it compiled
        environment |= {
            "JAX_COMPILATION_CACHE_DIR": cache,
            "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
            "JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES": "-1",
        }
    clock = "times.append(time.perf_counter())"
    lines = ["import json, time; times = []", clock]
    for statement in (*statements, statements[-1]):
        lines += [statement, clock]
    command = [sys.executable, "-c", "\n".join([*lines, "print(json.dumps(times))"])]
    began = time.perf_counter()
    done = subprocess.run(command, env=environment, stdout=subprocess.PIPE, text=True, check=True)
    total = time.perf_counter() - began
    times = json.loads(done.stdout.splitlines()[-1])
    ends = zip(PARTS, times[:-1], times[1:], strict=True)
    parts = {name: end - start for name, start, end in ends}
    return {"total": total - parts["second result"], **parts}
