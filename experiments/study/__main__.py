"""Trains, evaluates and collects the runs of a study. Stopped, it goes on where it was."""

from fcn_keras_cli import select_backend

select_backend()

import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import tyro

from experiments.study.plans import PLANS, Run
from experiments.study.tables import write_tables
from fcn_keras import InputError, load_model
from fcn_keras.commands import cli
from fcn_keras.recipes import load_recipe
from fcn_keras.saving import save_compact
from fcn_keras.storage import locked

COLLECTED = ("config.json", "log.csv", "curves.png", "panel.png")
PART_BYTES = 15 * 2**20


@dataclass(frozen=True, kw_only=True)
class Options(cli.Options):
    """Options of a study."""

    plan: Annotated[Literal["cpu", "gpu", "shapes"], tyro.conf.Positional]
    """The runs: see experiments/study/plans.py."""
    out: Path
    """Folder for the run folders."""
    collect: Path | None = None
    """Folder for logs, scores, pictures, tables and compact models, each file at most 15 MiB.
    Default: OUT/collected."""
    camvid: Path | None = None
    """Folder of CamVid."""
    voc2012: Path | None = None
    """Folder of VOC 2012."""
    weights: Path | None = None
    """torchvision's VGG16."""
    only: tuple[str, ...] = ()
    """Names of the runs to do. Default: all."""


def main(options: Options) -> None:
    """Does what is left of each run, and writes the tables again after each."""
    plan = {run.name: run for run in PLANS[options.plan]}
    unknown = set(options.only) - plan.keys()
    if unknown:
        raise InputError(f"--only {min(unknown)}: the runs of {options.plan} are {', '.join(plan)}")
    collected = options.collect or options.out / "collected"
    with locked(options.out, "--out"):
        for name in options.only or plan:
            run = plan[name]
            _train(run, options)
            _evaluate(run, options)
            _collect(run, options, collected / run.name)
            write_tables(PLANS[options.plan], collected, collected / "results.md")
    print(f"Tables: {collected / 'results.md'}")


def _data(run: Run, options: Options) -> list[str]:
    dataset = load_recipe(run.recipe).dataset
    if dataset == "shapes":
        return []
    folder = getattr(options, dataset)
    if folder is None:
        raise InputError(f"run {run.name} needs --{dataset}, the folder of the data set")
    return ["--data-dir", str(folder)]


def _train(run: Run, options: Options) -> None:
    folder = options.out / run.name
    if (folder / "panel.png").exists():  # the last thing that a run writes
        return
    data = _data(run, options)
    if run.start is not None:
        start = ["--init-from", str(options.out / run.start / "best.keras")]
    elif run.pretrained and options.weights is None:
        raise InputError(f"run {run.name} needs --weights, torchvision's VGG16")
    else:
        start = ["--weights", str(options.weights)] if run.pretrained else []
    again = ["--resume"] if (folder / "config.json").exists() else []
    where = ["--workdir", str(folder)]
    recipe = ["--recipe", run.recipe]
    _command("train", *recipe, *data, *start, *run.options, *where, *again)


def _evaluate(run: Run, options: Options) -> None:
    folder, config = options.out / run.name, load_recipe(run.recipe)
    models = {"": folder / "best.keras"}
    if run.keep:
        compact = folder / "best.safetensors"
        if not compact.exists():
            save_compact(load_model(models[""]), compact)
        models["-compact"] = compact
    for suffix, model in models.items():
        for evaluation in run.evaluations[: 1 if suffix else None]:
            scores = folder / f"scores-{evaluation.name}{suffix}.json"
            if not scores.exists():
                data = ["--dataset", config.dataset, *_data(run, options)]
                asked = ["--split", evaluation.split, *evaluation.options]
                asked += ["--bucket", str(config.bucket)]
                _command("evaluate", str(model), *data, *asked, "--json", str(scores))


def _collect(run: Run, options: Options, target: Path) -> None:
    folder = options.out / run.name
    target.mkdir(parents=True, exist_ok=True)
    for path in (*(folder / name for name in COLLECTED), *folder.glob("scores-*.json")):
        shutil.copy(path, target)
    compact = folder / "best.safetensors"
    if compact.exists():  # in parts, to put together with cat
        content = compact.read_bytes()
        for index, start in enumerate(range(0, len(content), PART_BYTES)):
            part = target / f"best.safetensors.{index:02d}"
            part.write_bytes(content[start : start + PART_BYTES])


def _command(name: str, *arguments: str) -> None:
    """Runs one of the commands; ends this process with its status if it fails."""
    print(f"python -m experiments.{name} {' '.join(arguments)}", flush=True)
    status = subprocess.run([sys.executable, "-m", f"experiments.{name}", *arguments]).returncode
    if status:
        sys.exit(status if status > 0 else 128 - status)


if __name__ == "__main__":
    cli.run(main, Options, __doc__)
