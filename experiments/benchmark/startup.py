"""How long a user waits for the first segmented image, from the start of the process."""

from __future__ import annotations

import functools
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict, dataclass

from PIL import Image

from experiments.benchmark import ours
from experiments.benchmark.case import Case, Networks, Tell, installed
from experiments.benchmark.report import Report

MODEL = "model.keras"
PARTS = ("import", "load", "first result", "second result")
# What a user's program does, a statement for each part; the last one runs twice.
OURS = (
    "import fcn_keras, numpy",
    "segment = fcn_keras.Segmenter({path!r})",
    "segment(numpy.full(({size}, {size}, 3), 100, numpy.uint8))",
)
TORCH = (
    "import torch; from experiments.benchmark.torch_fcn import FCN",
    "model = FCN({model!r}, {num_classes}, width={backbone_width}, head={head_width}).eval();"
    " model.load_state_dict(torch.load({path!r})); torch.set_grad_enabled(False)",
    "model(torch.full((1, 3, {size}, {size}), 100, dtype=torch.uint8)).argmax(1).numpy()",
)


@dataclass(frozen=True, kw_only=True)
class Startup(Networks):
    """A fresh process until its first segmented image, with and without a compilation cache."""

    def report(self, case: Case, tell: Tell) -> Report:
        """Seconds of the parts; in "total", the start and end of the process too.

        Of ``fcn-keras predict``, which writes its results too, the total only.
        """
        turns: dict[str, list[dict]] = {}
        with tempfile.TemporaryDirectory() as folder:
            tell("saving the models")
            program = _save_ours(case, f"{folder}/{MODEL}")
            torchs = _save_torch(case, f"{folder}/model.pt") if installed("torch") else None
            for turn in range(self.repeats):
                cached = functools.partial(_start, program, f"{folder}/cache{turn}")
                command = functools.partial(_predict, folder, case.size, f"command{turn}")
                starts = {
                    "ours, no cache": functools.partial(_start, program, None),
                    "ours, first with a cache": cached,
                    "ours, second with a cache": cached,
                    "fcn-keras predict, first": command,
                    "fcn-keras predict, second": command,
                }
                if torchs:
                    starts["torch"] = functools.partial(_start, torchs, None)
                for name, start in starts.items():
                    tell(f"turn {turn + 1}/{self.repeats}: {name}")
                    turns.setdefault(name, []).append(start())
        rows = [
            {"start": name, **{part: statistics.median(r[part] for r in runs) for part in runs[0]}}
            for name, runs in turns.items()
        ]
        return Report(f"{case}; seconds", rows, {"case": asdict(case)})


def _save_ours(case: Case, path: str) -> list[str]:
    """Writes our model. Returns the program that uses it."""
    ours.network(case).save(path)
    return [statement.format(path=path, **asdict(case)) for statement in OURS]


def _save_torch(case: Case, path: str) -> list[str]:
    """Writes PyTorch's model. Returns the program that uses it."""
    import torch

    from experiments.benchmark.torch_fcn import FCN

    network = FCN(case.model, case.num_classes, width=case.backbone_width, head=case.head_width)
    torch.save(network.state_dict(), path)
    return [statement.format(path=path, **asdict(case)) for statement in TORCH]


def _start(program: list[str], cache: str | None) -> dict[str, float]:
    """Runs the program in a process of its own. Returns the seconds of its parts, and of all.

    Users wait for the start and end of the process, and don't for the second image.
    """
    environment = _environment()
    if cache is not None:  # Of every program, however quickly it compiled.
        environment |= {
            "JAX_COMPILATION_CACHE_DIR": cache,
            "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
            "JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES": "-1",
        }
    clock = "times.append(time.perf_counter())"
    lines = ["import json, time; times = []", clock]
    for statement in (*program, program[-1]):
        lines += [statement, clock]
    command = [sys.executable, "-c", "\n".join([*lines, "print(json.dumps(times))"])]
    began = time.perf_counter()
    done = subprocess.run(command, env=environment, stdout=subprocess.PIPE, text=True, check=True)
    total = time.perf_counter() - began
    times = json.loads(done.stdout.splitlines()[-1])
    ends = zip(PARTS, times[:-1], times[1:], strict=True)
    parts = {name: end - start for name, start, end in ends}
    return {"total": total - parts["second result"], **parts}


def _predict(folder: str, size: int, cache: str) -> dict[str, float]:
    """Runs ``fcn-keras predict`` on a photo. Returns the seconds from its start to its end."""
    photo = f"{folder}/photo.png"
    Image.new("RGB", (size, size), (100, 100, 100)).save(photo)
    command = [sys.executable, "-c", "import fcn_keras_cli; fcn_keras_cli.main()", "predict"]
    command += [f"{folder}/{MODEL}", photo, "--out", f"{folder}/{cache}", "--overwrite"]
    environment = _environment() | {"XDG_CACHE_HOME": f"{folder}/{cache}"}
    began = time.perf_counter()
    subprocess.run(command, env=environment, stdout=subprocess.DEVNULL, check=True)
    return {"total": time.perf_counter() - began}


def _environment() -> dict[str, str]:
    """This process's, but for the compilation cache."""
    return {k: v for k, v in os.environ.items() if k != "JAX_COMPILATION_CACHE_DIR"}
