"""Segments photos: a palette PNG of class ids and a blend over the photo for each."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro
from rich.console import Console
from rich.progress import MofNCompleteColumn, Progress

from fcn_keras import InputError, Segmenter, viz
from fcn_keras.commands import cli
from fcn_keras.data import read_image
from fcn_keras.data.classes import CAMVID, SHAPES, VOC, ClassTable, voc_color_map
from fcn_keras.data.folder import IMAGE_SUFFIXES, read_classes
from fcn_keras.storage import locked

TABLES = {len(table): table for table in (VOC, CAMVID, SHAPES)}


@dataclass(frozen=True, kw_only=True)
class Options(cli.Options):
    """Options of prediction."""

    model: Annotated[tyro.conf.Positional[Path], tyro.conf.arg(metavar="MODEL")]
    """The .keras file, or a compact .safetensors file."""
    images: Annotated[tyro.conf.Positional[tuple[Path, ...]], tyro.conf.arg(metavar="IMAGE...")]
    """Photos, and folders of photos."""
    out: Path
    """Folder for NAME.png (class ids) and NAME_overlay.jpg."""
    classes: Path | None = None
    """classes.txt with the colours; else those of VOC, CamVid or shapes, by the class count."""
    alpha: float = 0.4
    """Weight of the class colours in the blend."""
    bucket: int = 128
    """Pad heights and widths to multiples of this; 1 runs every size as it is, compiling each."""


def main(options: Options) -> None:
    """Segments each photo and writes its pictures."""
    console = Console()
    photos = list_photos(options.images)
    check_outputs(photos, options.out)
    segment = Segmenter(options.model, bucket=options.bucket)
    classes = class_table(segment.num_classes, options.classes)
    columns = (*Progress.get_default_columns(), MofNCompleteColumn())
    progress = Progress(*columns, console=console, disable=not console.is_terminal)
    with locked(options.out, "--out"), progress as bar:
        for path in bar.track(photos, description="photos"):
            image = read_image(path)
            mask = segment(image)
            viz.save_mask(options.out / f"{path.stem}.png", mask, classes)
            blend = viz.overlay(image, mask, classes, options.alpha)
            viz.save_image(options.out / f"{path.stem}_overlay.jpg", blend)
    console.print(
        f"{len(photos)} photos segmented into {options.out}", highlight=False, soft_wrap=True
    )


def list_photos(paths: Sequence[Path]) -> list[Path]:
    """The files named, and the photos of the folders named.

    Raises:
        InputError: nothing is named, or a folder has no photos.
    """
    photos = []
    for path in paths:
        inside = [path]
        if path.is_dir():
            inside = sorted(p for p in path.iterdir() if p.suffix.lower() in IMAGE_SUFFIXES)
        if not inside:
            raise InputError(f"folder {path} holds no photos ({', '.join(IMAGE_SUFFIXES)})")
        photos += inside
    if not photos:
        raise InputError("no image is named: name photos, or folders of photos")
    return photos


def check_outputs(photos: Sequence[Path], out: Path) -> None:
    """Raises `InputError` where a result would overwrite a photo or another's result."""
    results: dict[str, Path] = {}
    for path in photos:
        if path.parent.resolve() == out.resolve():
            raise InputError(f"--out {out} is the folder of image {path.name}: name another one")
        if path.stem in results and not path.samefile(results[path.stem]):
            raise InputError(
                f"images {results[path.stem]} and {path} would both become {path.stem}.png: "
                "predict them into different folders"
            )
        results[path.stem] = path


def class_table(num_classes: int, file: Path | None) -> ClassTable:
    """The colours to draw in: the file's, or those of the data set with as many classes.

    Raises:
        InputError: the file has another number of classes.
    """
    if file is None:
        colors = tuple(map(tuple, voc_color_map()[:num_classes].tolist()))
        names = tuple(f"class {index}" for index in range(num_classes))
        return TABLES.get(num_classes) or ClassTable("unnamed", names, colors)
    table, _ = read_classes(file)
    if len(table) != num_classes:
        raise InputError(f"{file} has {len(table)} classes, but the model has {num_classes}")
    return table


def run() -> None:
    """The command."""
    cli.run(main, Options, __doc__)
