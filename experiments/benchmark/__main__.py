"""Measure speed and memory beside plain PyTorch, and against the machine's own limits."""

from fcn_keras_cli import select_backend

select_backend()

import math
import sys
from collections.abc import Callable, Iterator
from dataclasses import asdict, replace
from datetime import date

import keras
import tyro
from rich.console import Console

from experiments.benchmark import fed, feeding, startup, tables, trace, workers
from experiments.benchmark.case import Case, contenders, installed
from experiments.benchmark.options import (
    Compared,
    Data,
    Fed,
    Largest,
    Network,
    Predict,
    Profile,
    Roofline,
    Startup,
    Train,
    Upsample,
)
from experiments.benchmark.roofline import limits, report, survey
from fcn_keras import InputError
from fcn_keras.commands import cli

console = Console(width=None if sys.stdout.isatty() else 120)
Progress = Callable[[str], None]
Verb = Predict | Train | Upsample | Roofline | Profile | Largest | Data | Fed | Startup


def cases(options: Network, verb: str) -> Iterator[Case]:
    """Every combination of the options.

    Raises:
        InputError: a size is not a multiple of 32, which the plain PyTorch network needs.
    """
    for size in options.sizes:
        if size < 32 or size % 32:
            raise InputError(f"--sizes {size}: give multiples of 32")
    for model in options.models:
        for size in options.sizes:
            for batch in options.batches:
                yield Case(
                    verb=verb,
                    model=model,
                    size=size,
                    batch=batch,
                    precision=options.precision,
                    trunk_width=options.trunk_width,
                    head_width=options.head_width,
                )


def networks(options: Compared, progress: Progress) -> list[dict]:
    verb = type(options).__name__.lower()
    entrants = contenders(verb, options.contenders)
    everything = list(cases(options, verb))
    progress("measuring the matrix product and the memory")
    machine, flops = workers.apart(survey, everything, options.matrix)
    figures = []
    for case, count in zip(everything, flops, strict=True):
        results = workers.compare(case, entrants, options.repeats, progress)
        console.print(tables.comparison(case, results, count, machine.flops_per_second))
        figures.append(_figures(case, results, count) | {"limits": asdict(machine)})
    return figures


def upsamplings(options: Upsample, progress: Progress) -> list[dict]:
    figures = []
    for stride in options.strides:
        if options.size % stride:
            raise InputError(f"--size {options.size}: give a multiple of the stride {stride}")
        case = Case(
            verb="upsample",
            stride=stride,
            size=options.size,
            batch=options.batch,
            num_classes=options.num_classes,
        )
        entrants = contenders("upsample", options.contenders)
        results = workers.compare(case, entrants, options.repeats, progress)
        # Forward and two gradients; each output sums over 2 x 2 taps and all classes.
        flops = 3 * 8 * case.batch * case.size**2 * case.num_classes**2
        console.print(tables.comparison(case, results, flops, None))
        figures.append(_figures(case, results, flops))
    return figures


def _figures(case: Case, results: list[workers.Result], flops: float) -> dict:
    rows = [asdict(result) | {"median": result.median} for result in results]
    return {"case": asdict(case), "flops": flops, "results": rows}


def rooflines(options: Roofline, progress: Progress) -> list[dict]:
    machine = limits(options.precision, options.matrix)
    figures = []
    for case in cases(options, "train" if options.training else "predict"):
        figures.append(report(case, machine, options.measure, progress))
        console.print(tables.layers(figures[-1]))
    return figures


def profiles(options: Profile, progress: Progress) -> list[dict]:
    figures = []
    for case in cases(options, _verb(options)):
        progress(f"profiling {case}")
        figures.append(workers.apart(trace.profile, case, options.calls))
        shown = {"layer": "", "forward": ".3f", "backward": ".3f"}
        console.print(tables.plain(f"{case}; ms a call", figures[-1]["layers"], shown))
    return figures


def largest(options: Largest, progress: Progress) -> list[dict]:
    verb = _verb(options)
    figures = []
    for case in cases(options, verb):
        rows = []
        for contender in contenders(verb, options.contenders):
            tried = workers.largest(case, contender, options.limit, progress)
            ran = [(batch, result) for batch, result in tried if not result.error]
            batch, result = ran[-1] if ran else (0, tried[-1][1])
            rows.append(
                {
                    "contender": contender,
                    "largest_batch": batch,
                    "images_per_second": batch / result.median if ran else 0.0,
                    "device_MB": result.device_peak_megabytes or result.peak_megabytes or 0.0,
                    "then": tried[-1][1].error or f"limit of {options.limit}",
                }
            )
        shown = dict.fromkeys(rows[0], "") | {"images_per_second": ".1f", "device_MB": ".0f"}
        console.print(tables.plain(f"largest batch, {case}", rows, shown))
        figures.append({"case": asdict(case), "contenders": rows})
    return figures


def feds(options: Fed, progress: Progress) -> list[dict]:
    figures = []
    for case in cases(options, "train"):
        feed = feeding.Feed(
            dataset=options.dataset,
            data_dir=options.data_dir,
            split=options.split,
            batch=case.batch,
            size=case.size,
            workers=options.workers,
        )
        case = replace(case, num_classes=fed.classes(feed))
        figure = fed.compare(case, feed, options.repeats, options.seconds, progress)
        rates = figure["images_per_second"]
        console.print(
            f"{case}: {rates['resident']:.1f} images/s on a batch that stays, "
            f"{rates['fed']:.1f} from {options.dataset} with {options.workers} workers: "
            f"{100 * figure['share']:.0f} %",
            highlight=False,
        )
        figures.append(figure)
    return figures


def _verb(options: Profile | Largest) -> str:
    return "train" if options.training else "predict"


def data(options: Data, progress: Progress) -> dict:
    feed = feeding.Feed(
        dataset=options.dataset,
        data_dir=options.data_dir,
        split=options.split,
        batch=options.batch,
        size=options.size,
    )
    progress("timing the steps")
    steps = feeding.stages(feed, options.samples)
    rows = [{"step": name, "ms_per_image": ms} for name, ms in steps.items()]
    rows.append({"step": "sum", "ms_per_image": sum(steps.values())})
    console.print(tables.plain("one image", rows, {"step": "", "ms_per_image": ".2f"}))
    loaders = ("ours", "torch") if installed("torch") else ("ours",)
    rates = feeding.compare(
        feed, loaders, options.workers, options.repeats, options.seconds, progress
    )
    shown = {"loader": "", "workers": "d", "images_per_second": ".1f"}
    title = f"{options.dataset}, batches of {options.batch} at {options.size} x {options.size}"
    console.print(tables.plain(title, rates, shown))
    core = 1000 / sum(steps.values())
    console.print(
        f"One core makes {core:.0f} images/s; {options.demand:.0f} images/s take "
        f"{math.ceil(options.demand / core)} cores.",
        highlight=False,
    )
    return {"milliseconds": steps, "rates": rates}


def startups(options: Startup, progress: Progress) -> list[dict]:
    figures = []
    for case in cases(options, "predict"):
        rows = startup.compare(case, options.repeats, progress)
        shown = {name: ".2f" if name != "start" else "" for name in rows[0]}
        console.print(tables.plain(f"{case}; seconds", rows, shown))
        figures.append({"case": asdict(case), "starts": rows})
    return figures


VERBS = {
    Predict: networks,
    Train: networks,
    Upsample: upsamplings,
    Roofline: rooflines,
    Profile: profiles,
    Largest: largest,
    Data: data,
    Fed: feds,
    Startup: startups,
}


def main(options: Verb) -> None:
    if keras.backend.backend() != "jax":
        raise InputError(f"--backend {keras.backend.backend()}: the benchmark measures jax")
    if options.repeats < 1:
        raise InputError(f"--repeats {options.repeats}: give at least 1")
    with console.status("", speed=0.2) as status:
        figures = VERBS[type(options)](options, status.update)
    if options.json:
        verb = type(options).__name__.lower()
        about = {"verb": verb, "date": str(date.today()), "machine": workers.apart(tables.machine)}
        tables.write(options.json, {**about, "figures": figures})


if __name__ == "__main__":
    cli.run(main, Verb, __doc__, default=tyro.MISSING)
