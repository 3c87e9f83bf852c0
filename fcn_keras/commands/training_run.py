"""A training run as the command shows it: progress, final message, pictures and scores."""

from __future__ import annotations

import logging
import os
import shlex
import signal
import sys
from datetime import datetime
from pathlib import Path
from typing import NoReturn

import jax
import keras
import numpy as np
from rich.console import Console

from fcn_keras import Segmenter, cpu, viz
from fcn_keras.commands import cli
from fcn_keras.commands.console_reporter import ConsoleReporter
from fcn_keras.commands.events import EventReporter
from fcn_keras.commands.flags import name_flags
from fcn_keras.commands.tables import scores_table
from fcn_keras.commands.train_options import Options
from fcn_keras.data import open_dataset
from fcn_keras.errors import InputError
from fcn_keras.training import (
    DivergedError,
    Reporters,
    Result,
    SaveError,
    StoppedError,
    TrainConfig,
    distributed,
    train,
)
from fcn_keras_cli import program

RUNS = Path("runs")
PANEL_IMAGES = 4


def train_and_show(options: Options) -> None:
    """Trains or resumes, and leaves pictures and scores beside the model."""
    config = options.config
    if keras.backend.backend() != "jax":
        raise InputError(
            f"--backend {keras.backend.backend()}: training is a JAX step; train with --backend "
            "jax, and use the saved model under any backend"
        )
    if not options.debug:
        _silence_orbax()
    if options.distributed:
        if options.workdir is None:
            raise InputError("--distributed needs --workdir, one folder that all processes see")
        distributed.initialize()
    cpu.prepare()
    workdir = options.workdir or (_newest if options.resume else _new)(options.recipe)
    console = cli.console(quiet=jax.process_index() > 0)
    console.print(f"Run folder: {workdir}", soft_wrap=True)
    try:
        with ConsoleReporter(console, config.epochs) as reporter:
            events = EventReporter(workdir, reporter.message)
            both = Reporters(reporter, events)
            result = train(
                config, workdir, resume=options.resume, reporter=both, recipe=options.recipe
            )
    except (DivergedError, SaveError) as error:
        if options.debug:
            raise
        _leave(f"error: {name_flags(cli.describe(error), Options)}", 1)
    except StoppedError as stopped:
        name = signal.Signals(stopped.signal).name
        again = _resume_command(options, workdir)
        _leave(
            f"Stopped by {name} after step {stopped.step}, which is saved. To continue:\n  {again}",
            128 + stopped.signal,
        )
    except KeyboardInterrupt:
        again = _resume_command(options, workdir)
        _leave(f"Stopped at once. To continue from the last checkpoint:\n  {again}", 130)
    except (InputError, OSError) as error:
        if jax.process_count() == 1 or options.debug:
            raise
        status = 2 if isinstance(error, InputError) else 1
        _leave(f"error: {name_flags(cli.describe(error), Options)}", status)
    except jax.errors.JaxRuntimeError as error:
        if jax.process_count() == 1 or options.debug:
            raise
        reason = str(error).splitlines()[0]
        _leave(f"error: another process ended ({reason}): restart all of them with --resume", 1)
    if jax.process_index() == 0:
        _finish(config, result, reporter, events, console)


def _silence_orbax() -> None:
    """Silences its many lines about a failed write, which the error reports in one."""
    for name in ("absl", "asyncio"):
        logging.getLogger(name).setLevel(logging.CRITICAL)
    sys.unraisablehook = lambda _: None


def _resume_command(options: Options, workdir: Path) -> str:
    arguments = [argument for argument in sys.argv[1:] if argument != "--resume"]
    if options.workdir is None:
        arguments += ["--workdir", str(workdir)]
    return f"{program('train')} {shlex.join([*arguments, '--resume'])}"


def _leave(text: str, status: int) -> NoReturn:
    """Prints a last message and ends the process.

    Bypasses Python's exit, which would wait for a checkpoint being written, or for processes that
    are dead.
    """
    print(text, file=sys.stderr, flush=True)
    sys.stdout.flush()
    os._exit(status)


def _new(recipe: str) -> Path:
    return RUNS / f"{Path(recipe).stem}-{datetime.now():%Y%m%d-%H%M%S}"


def _newest(recipe: str) -> Path:
    runs = sorted(RUNS.glob(f"{Path(recipe).stem}-*/config.json"), key=os.path.getmtime)
    if not runs:
        raise InputError(f"--resume: there is no run of {recipe} under {RUNS}/; name --workdir")
    return runs[-1].parent


def _finish(
    config: TrainConfig,
    result: Result,
    reporter: ConsoleReporter,
    events: EventReporter,
    console: Console,
) -> None:
    """Draws the pictures, and prints the best score and what to do with the model."""
    folder = result.folder
    source = open_dataset(config.dataset, config.data_dir, config.val_split)
    if reporter.best:
        row, scores = reporter.best
        title = f"Best epoch: {row['epoch']}, on {config.val_split}"
        console.print(scores_table(scores, source.classes, title))
    viz.curves(folder.log, folder.curves)
    segment = Segmenter(folder.best, bucket=config.bucket)
    # Spread over the split: neighbours are often frames of one scene.
    shown = np.linspace(0, len(source) - 1, min(PANEL_IMAGES, len(source))).astype(int)
    images, truths = zip(*(source[index] for index in shown), strict=True)
    predictions = [segment(image) for image in images]
    viz.panel(images, truths, predictions, source.classes, folder.panel)
    events.picture(folder.panel, result.steps)

    data = ["--dataset", config.dataset]
    if config.data_dir is not None:
        data += ["--data-dir", str(config.data_dir)]
    evaluate = [str(folder.best), *data, "--split", config.val_split]
    predict = [str(folder.best), "PHOTO.jpg", "--out", str(folder.path / "predictions")]
    export = [str(folder.best), "--out", str(folder.path / "saved_model")]
    console.print(f"\nBest mean IoU {result.best_mean_iou:.4f} in {folder.best}", soft_wrap=True)
    for name, arguments in (("evaluate", evaluate), ("predict", predict), ("export", export)):
        print(f"  {program(name)} {shlex.join(arguments)}")
