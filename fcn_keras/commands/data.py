"""Download or convert a data set, check its files, and look at what the network will see."""

import json
import shlex
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import tyro
from rich.table import Table

from fcn_keras.commands import cli
from fcn_keras.data.annotations.names import Crowd, Format, Overlap, Unlabelled
from fcn_keras.data.classes import ClassTable
from fcn_keras.data.source import FileSource
from fcn_keras.storage import replacing
from fcn_keras_cli import program

if TYPE_CHECKING:
    from fcn_keras.data.check import SplitReport

START = "voc2012"  # the trained model that ships with the package
PASSED = ("images", "classes", "unlabelled", "overlap", "crowd", "link", "overwrite")

console = cli.console()


@dataclass(frozen=True, kw_only=True)
class Check(cli.DataOptions):
    """Read every file, count the labels, and list what is wrong (exit status 1)."""

    splits: tuple[str, ...] = ("train", "val")
    """Splits that should share no sample."""
    workers: int | None = None
    """Threads; as many as cores by default."""
    json: Path | None = None
    """Write the report to this file too."""
    show: int = 50
    """Print at most this many problems."""
    picture: Path | None = None
    """Draw samples with their masks on top into this file, e.g. check.png."""


@dataclass(frozen=True, kw_only=True)
class Browse(cli.DataOptions):
    """Write a contact sheet of training samples after augmentation, images beside masks."""

    split: str = "train"
    """Split to draw from."""
    out: Path = Path("samples.png")
    """Picture to write."""
    crop_size: int = 480
    """Crop size in pixels, as in training."""
    color_jitter: float = 0.0
    """Largest change of brightness, contrast and saturation, as a fraction."""
    count: int = 24
    """Samples to show."""
    seed: int = 0
    """Seed of the training run to look at."""


@dataclass(frozen=True, kw_only=True)
class Download(cli.Options):
    """Download and unpack official archives; an interrupted download is resumed."""

    archives: tyro.conf.Positional[tuple[Literal["voc2012", "sbd"], ...]] = ("voc2012", "sbd")
    """voc2012 (2.0 GB) and sbd (1.4 GB, adds the trainaug split)."""
    data_dir: Path = Path("data")
    """Folder to unpack into."""


@dataclass(frozen=True, kw_only=True)
class Convert(cli.Options):
    """Turn another program's annotation files into a folder for --dataset folder."""

    source: Annotated[tyro.conf.Positional[Path], tyro.conf.arg(metavar="SOURCE")]
    """The annotation file, or the folder that the program saved or exported."""
    from_: Annotated[Format, tyro.conf.arg(name="from")]
    """The format: cvat is "CVAT for images 1.1", yolo is polygons, voc is pictures of classes."""
    out: Path
    """Data folder to write, such as mydata."""
    images: Path | None = None
    """Folder of the photos, if they aren't beside the annotations."""
    classes: Path | None = None
    """File that chooses, merges and colours classes; docs/data.md describes its lines."""
    unlabelled: Unlabelled = "background"
    """What pixels outside of all objects become."""
    overlap: Overlap | None = None
    """Which of two overlapping objects is on top. Default: later for labelme and cvat, smaller for
    coco and yolo."""
    crowd: Crowd = "class"
    """What COCO's crowd areas become: their class, below all other objects, or void."""
    link: bool = False
    """Link to the photos rather than copy them."""
    overwrite: bool = False
    """Replace existing files whose contents differ; otherwise they are kept."""


def check(options: Check) -> None:
    """Prints what the splits hold and what is wrong with them."""
    from fcn_keras.commands.progress import bar
    from fcn_keras.data.catalog import open_files
    from fcn_keras.data.check import check
    from fcn_keras.data.folder import strays
    from fcn_keras.data.sheet import overlay_sheet
    from fcn_keras.viz import save_image

    root = options.data_dir
    sources = {split: open_files(options.dataset, root, split) for split in options.splits}
    with bar(console, "samples") as update:
        report = check(sources, workers=options.workers, progress=update)
    for name, split in report.splits.items():
        console.print(split_table(name, split, report.classes))
        for change, images in split.conversions.items():
            console.print(f"{name}: {images} images: {change}")
    for problem in report.problems[: options.show]:
        console.print(f"{problem.split}: {problem.message}", soft_wrap=True)
    if options.dataset == "folder" and root is not None:
        report.warnings += strays(root)
    for warning in report.warnings:
        console.print(f"Warning: {warning}", soft_wrap=True)
    samples = sum(map(len, sources.values()))
    console.print(f"samples: {samples}, problems: {len(report.problems)}")
    if options.picture:
        first = next(iter(sources.values()))
        save_image(options.picture, overlay_sheet(first, skip={p.sample for p in report.problems}))
        console.print(f"wrote {options.picture}: check that the colours are on the right objects")
    if options.dataset == "folder" and not report.problems:
        suggest_training(options, sources)
    if options.json:
        with replacing(options.json) as draft:
            draft.write_text(json.dumps(report.to_json(), indent=1) + "\n")
    if report.problems:
        sys.exit(1)


def suggest_training(options: Check, sources: dict[str, FileSource]) -> None:
    """Prints the command that trains on this folder, and what it derives from the photos."""
    from fcn_keras.data.photos import survey
    from fcn_keras.recipes import load_recipe

    photos = survey(next(iter(sources.values())))
    config = load_recipe("own_cpu", options.data_dir)
    steps = photos.count // config.batch_size
    command = ["--recipe", "own_cpu", "--data-dir", str(options.data_dir), "--init-from", START]
    console.print(
        f"To train (photos of at most {config.max_side} pixels a side, crops of "
        f"{config.crop_size}, {config.epochs} epochs of {steps} steps; --recipe own on a GPU):\n"
        f"  {program('train')} {shlex.join(command)}",
        soft_wrap=True,
    )


def split_table(name: str, split: "SplitReport", classes: ClassTable) -> Table:
    """Images and pixels of each class; percentages are of the labelled pixels."""
    table = Table(title=f"{classes.name} {name}: {split.samples} samples", title_justify="left")
    table.add_column("class")
    for column in ("images", "pixels", "%"):
        table.add_column(column, justify="right")
    labelled = max(int(split.pixels.sum()), 1)
    for label, images, pixels in zip(classes.names, split.images, split.pixels, strict=True):
        table.add_row(label, str(images), str(pixels), f"{100 * pixels / labelled:.2f}")
    table.add_section()
    table.add_row("void", "", str(split.void_pixels), "")
    return table


def browse(options: Browse) -> None:
    """Writes a contact sheet."""
    from fcn_keras.data import Augmentation, open_dataset
    from fcn_keras.data.sheet import contact_sheet
    from fcn_keras.viz import save_image

    source = open_dataset(options.dataset, options.data_dir, options.split)
    augmentation = Augmentation(crop_size=options.crop_size, color_jitter=options.color_jitter)
    sheet = contact_sheet(source, augmentation=augmentation, seed=options.seed, count=options.count)
    save_image(options.out, sheet)
    console.print(f"wrote {options.out}", soft_wrap=True)


def download(options: Download) -> None:
    """Downloads and unpacks the archives."""
    from fcn_keras.commands.progress import bar
    from fcn_keras.data.archives import fetch

    for name in options.archives:
        with bar(console, name, transfer=True) as update:
            folder = fetch(name, options.data_dir, update)
        console.print(f"{name} is in {folder}", soft_wrap=True)


def convert(options: Convert) -> None:
    """Converts annotation files and prints a summary."""
    from fcn_keras.commands.progress import bar
    from fcn_keras.data import annotations

    settings = {name: value for name, value in vars(options).items() if name in PASSED}
    with bar(console, "photos") as update:
        report = annotations.convert(
            options.source, options.out, options.from_, **settings, progress=update
        )
    objects = ", ".join(f"{name} {count}" for name, count in report.objects.items())
    lines = [f"photos: {report.photos}, objects: {objects or 'none'}"]
    if options.from_ != "voc":
        lines.append(f"where objects overlap, the {report.overlap} one is on top")
    lines += [f"left out: {name}: {count}" for name, count in report.skipped.items()]
    if report.left_out:
        listed = ", ".join(f"{name} {count}" for name, count in report.left_out.items())
        lines.append(f"left out, on no line of {options.classes}: {listed}")
    if report.empty:
        fate = "all background" if options.unlabelled == "background" else "left out"
        lines.append(
            f"photos without an object: {len(report.empty)}, such as {report.empty[0]}, {fate}"
        )
    if report.kept:
        lines.append(
            f"Warning: {len(report.kept)} files differ from these annotations and were kept, such "
            f"as {report.kept[0]}; --overwrite replaces them"
        )
    check = f"{program('data')} check --dataset folder --data-dir {shlex.quote(str(options.out))}"
    lines.append(f"To check them:\n  {check} --picture check.png")
    for line in lines:
        console.print(line, soft_wrap=True)


def main(options: Check | Browse | Convert | Download) -> None:
    """Runs the subcommand."""
    match options:
        case Check():
            check(options)
        case Browse():
            browse(options)
        case Convert():
            convert(options)
        case Download():
            download(options)


def run() -> None:
    """The command."""
    cli.run(main, Check | Browse | Convert | Download, __doc__, default=tyro.MISSING)
