"""Measure speed and memory beside plain PyTorch, and against the machine's own limits."""

from fcn_keras_cli import select_backend

select_backend()

import json
import sys
from dataclasses import asdict
from datetime import date

import keras
import tyro
from rich.console import Console

from experiments.benchmark import report, workers
from experiments.benchmark.compared import Largest, Predict, Train, Upsample
from experiments.benchmark.data import Data, Fed
from experiments.benchmark.profile import Profile
from experiments.benchmark.roofline import Roofline
from experiments.benchmark.startup import Startup
from fcn_keras import InputError
from fcn_keras.commands import cli
from fcn_keras.storage import replacing

Verb = Predict | Train | Upsample | Roofline | Profile | Largest | Data | Fed | Startup


def main(options: Verb) -> None:
    """Prints what `options` measures and, if they name a file, writes it there."""
    if keras.backend.backend() != "jax":
        raise InputError(f"--backend {keras.backend.backend()}: the benchmark measures jax")
    if options.repeats < 1:
        raise InputError(f"--repeats {options.repeats}: give at least 1")
    console = Console(width=None if sys.stdout.isatty() else 120)
    reports = []
    with console.status("", speed=0.2) as status:
        for each in options.run(status.update):
            console.print(each.table(), highlight=False)
            reports.append(asdict(each))
    if options.json:
        record = {
            "verb": type(options).__name__.lower(),
            "date": str(date.today()),
            "machine": workers.apart(report.machine),
            "reports": reports,
        }
        with replacing(options.json) as draft:
            draft.write_text(json.dumps(record, indent=1) + "\n")


if __name__ == "__main__":
    cli.run(main, Verb, __doc__, default=tyro.MISSING)
