"""Every format and precision that a model can be exported in: size, difference and time.

python -m experiments.study.formats voc2012 --out DIR

Files that DIR holds already are taken as they are. Then all are timed beside the model itself at
one size, in turns, each turn in a new process.
"""

from fcn_keras_cli import select_backend

select_backend()

import json
import statistics
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from experiments.benchmark.report import Report
from experiments.benchmark.workers import apart
from fcn_keras.commands import cli

CALLS = 3  # Timed in each turn.


@dataclass(frozen=True, kw_only=True)
class Options(cli.Options):
    """What is exported, and how it is timed."""

    model: cli.Model
    out: Path
    """Folder for the files, FORMAT-PRECISION with the format's suffix."""
    size: int = 480
    """Height and width of the image that is timed, and of LiteRT's files."""
    repeats: int = 3
    """Turns of each."""


def main(options: Options) -> None:
    """Prints a row for each."""
    rows = {f"ours {precision}": {} for precision in ("float32", "bfloat16")}
    loaders = {name: (ours, str(options.model), name.split()[1]) for name in rows}
    for path, writer, row in files(options):
        rows[path.name] = row
        if "error" not in row:
            loaders[path.name] = (exported, writer, str(path))
    for name, milliseconds in turns(loaders, options.size, options.repeats).items():
        rows[name] |= {"ms": statistics.median(milliseconds), "fastest": min(milliseconds)}
    title = f"{options.model}, one image of {options.size}x{options.size}"
    report = Report(title, [{"file": name} | row for name, row in rows.items()])
    cli.console().print(report.table())


def files(options: Options) -> Iterator[tuple[Path, str, dict]]:
    """Exports what isn't there yet; yields each file, what runs it, and its figures."""
    from fcn_keras import InputError
    from fcn_keras.export import FORMATS, ExportError, export_model

    for name, kind in FORMATS.items():
        if not kind.extern:  # ours reads it, so it is no faster or slower
            continue
        for precision in (None, *kind.precisions):
            path = options.out / f"{name}-{precision or 'float32'}{kind.suffix}"
            record = path / "export.json" if not kind.suffix else Path(f"{path}.json")
            size = None if kind.open_size else (options.size, options.size)
            try:
                if not record.exists():
                    cli.console().print(f"exporting {path.name}")
                    export_model(
                        options.model, path, format=name, quantize=precision, input_size=size
                    )
            except (InputError, ExportError) as error:
                yield path, kind.writer, {"error": str(error)}
                continue
            told = json.loads(record.read_text())
            yield (
                path,
                kind.writer,
                {
                    "MB": told["bytes"] / 1e6,
                    "differs": told["proof"]["difference"],
                    "changes": f"{told['proof']['pixels_changed']:.2%}",
                },
            )


def turns(loaders: dict[str, tuple], size: int, repeats: int) -> dict[str, list[float]]:
    """The milliseconds of each, which take turns."""
    found: dict[str, list[float]] = {name: [] for name in loaders}
    for _ in range(repeats):
        for name, loader in loaders.items():
            found[name] += apart(turn, size, *loader)
            cli.console().print(f"{name}: {min(found[name]):.0f} ms at the fastest so far")
    return found


def turn(size: int, load: Callable, *arguments: str) -> list[float]:
    """Milliseconds of `CALLS` calls after a first one."""
    run = load(*arguments)
    image = np.random.default_rng(0).integers(0, 256, (1, size, size, 3)).astype(np.float32)
    milliseconds = []
    for _ in range(1 + CALLS):
        start = time.perf_counter()
        np.asarray(run(image))
        milliseconds.append(1000 * (time.perf_counter() - start))
    return milliseconds[1:]


def ours(model: str, precision: str) -> Callable:
    """The model as `Segmenter` runs it, on one size."""
    import fcn_keras
    from fcn_keras.inference import bind

    model = fcn_keras.Segmenter(model, precision=precision).model
    return bind(model, lambda images: model(images, training=False))


def exported(writer: str, path: str) -> Callable:
    """A file in its runtime, in float32 where that could choose."""
    from fcn_keras.export import serve

    return serve.LOADERS[writer](path)


if __name__ == "__main__":
    cli.run(main, Options, __doc__)
