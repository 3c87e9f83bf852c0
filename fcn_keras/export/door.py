"""The one entry point: check the request, write, prove, and only then move into place."""

from __future__ import annotations

import contextlib
import dataclasses
import importlib
import json
import os
import tempfile
from collections.abc import Iterator, Sequence
from os import PathLike
from pathlib import Path
from typing import Any, get_args

import keras

from fcn_keras.data.classes import VOID
from fcn_keras.errors import InputError
from fcn_keras.export.formats import FORMATS, Format, Precision, find
from fcn_keras.export.job import INPUT, Job, Output
from fcn_keras.export.proof import Proof, images_of, prove
from fcn_keras.inference.precision import in_precision
from fcn_keras.pretrained import load_model
from fcn_keras.saving import describe, num_classes, package_version
from fcn_keras.storage import SaveError, system_reason


@dataclasses.dataclass(frozen=True, kw_only=True)
class Exported:
    """What was written.

    Attributes:
        path: The file or folder that was asked for.
        record: The JSON file that describes it.
        bytes: Size of the model, in one or more files.
        proof: How it compares with the model.
        max_side: Of a photo's longer side, in pixels: larger ones are to be scaled down to it
            before the file gets them. None: it takes them as they are.
    """

    path: Path
    record: Path
    bytes: int
    proof: Proof
    max_side: int | None


def export_model(
    model: keras.Model | str | PathLike,
    path: str | PathLike,
    *,
    format: str,
    input_size: tuple[int, int] | None = None,
    output: Output = "logits",
    check: Sequence[str | PathLike] = (),
    quantize: Precision | None = None,
    calibrate: Sequence[str | PathLike] = (),
) -> Exported:
    """Writes a model for another runtime, which must first prove to compute the same.

    The file takes ``images``, RGB 0..255 as float32 ``(B, H, W, 3)``, and computes in float32
    unless it is quantised to int8. It is run in a fresh process that can import its runtime and
    nothing of ours, on photos and noise. What was compared, with names, colours and origin of the
    model, is written beside it as ``PATH.json``, into a SavedModel's folder as ``export.json``.

    Args:
        model: The model, its ``.keras`` or compact file, or the name of one that ships with the
            package; under the JAX backend.
        path: Where to write. An existing export is replaced.
        format: A name in `FORMATS`.
        input_size: ``(H, W)`` to fix; None leaves height and width open. The batch is open too,
            except for LiteRT, which takes one image of a fixed size.
        output: ``"logits"`` float32 ``(B, H, W, C)``, ``"probabilities"`` of that shape, or
            ``"classes"`` uint8 ``(B, H, W)``; the file's output has this name.
        check: Photos to compare on, in place of the package's three.
        quantize: ``"float16"`` stores kernels in half the bytes and computes in float32;
            ``"int8"`` stores them in a quarter and computes in int8. None keeps float32.
        calibrate: Photos to calibrate int8 on, like those that the model is meant for, in place of
            the package's three.

    Raises:
        InputError: an argument is not possible, a package is missing, or the file can't hold
            this model.
        SaveError: the disk is full, or something similar.
        ExportError: the file can't be run, or doesn't compute the same.
            After any error `path` is as it was.
    """
    path = Path(path)
    kind = find(format)
    _check(path, kind, input_size, output)
    _check_precision(kind, quantize, calibrate)
    if isinstance(model, str | PathLike):
        model = load_model(model)
    num_classes(model)
    input_size = _size(model, kind, input_size)
    # Noise has values that int8, calibrated on photos, can't tell apart.
    max_side = describe(model).max_side
    images = images_of(check, input_size, kind.batches and quantize != "int8", max_side)
    photos = images_of(calibrate, input_size, False, max_side) if quantize == "int8" else {}
    model = in_precision(model, "float32") if kind.extern else model
    job = Job(model, input_size, output, _facts(model), quantize, tuple(photos.values()))
    with _staging(path) as folder:
        staged = folder / path.name
        importlib.import_module(f"fcn_keras.export.{kind.writer}").write(job, staged)
        proof = prove(job.model, staged, kind, output, images, quantize)
        size = sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())
        record = staged / "export.json" if staged.is_dir() else folder / f"{path.name}.json"
        record.write_text(json.dumps(_record(job, kind, size, proof), indent=2) + "\n")
        _land(folder, path.parent)
    return Exported(
        path=path,
        record=path.parent / record.relative_to(folder),
        bytes=size,
        proof=proof,
        max_side=max_side if kind.extern else None,
    )


def _check(path: Path, kind: Format, input_size: tuple[int, int] | None, output: str) -> None:
    if keras.backend.backend() != "jax":
        raise InputError(
            f"the backend is {keras.backend.backend()}, but export runs on JAX: set "
            "KERAS_BACKEND=jax"
        )
    if output not in get_args(Output):
        raise InputError(f"output={output!r} must be one of {', '.join(get_args(Output))}")
    if input_size is not None and min(input_size) < 1:
        raise InputError(f"input_size={tuple(input_size)} is not possible: give pixels above 0")
    if not kind.extern and (input_size or output != "logits"):
        raise InputError(
            f"format={kind.writer!r} takes images of any size and returns logits: leave out "
            "`input_size` and `output`"
        )
    if kind.suffix:
        if path.suffix != kind.suffix:
            raise InputError(f"{path} must be named *{kind.suffix} to hold {kind.title}")
        if path.is_dir():
            raise InputError(f"{path} is a folder: name a file")
    elif not _replaceable(path):
        raise InputError(f"{path} exists and is not a SavedModel: name another folder")


def _check_precision(
    kind: Format, quantize: str | None, calibrate: Sequence[str | PathLike]
) -> None:
    if quantize is not None and quantize not in get_args(Precision):
        raise InputError(f"quantize={quantize!r} must be one of {', '.join(get_args(Precision))}")
    if quantize is not None and quantize not in kind.precisions:
        able = [name for name, other in FORMATS.items() if quantize in other.precisions]
        raise InputError(
            f"quantize={quantize!r}: a {kind.title} can't be quantised here; choose "
            f"`format` {', '.join(able[:-1])} or {able[-1]}"
        )
    if calibrate and quantize != "int8":
        raise InputError("`calibrate` is for int8 only: give quantize='int8' or leave it out")


def _replaceable(folder: Path) -> bool:
    """Whether it holds nothing but a SavedModel, if anything."""
    if not folder.exists() or (folder / "saved_model.pb").is_file():
        return True
    return folder.is_dir() and not any(folder.iterdir())


def _size(
    model: keras.Model, kind: Format, input_size: tuple[int, int] | None
) -> tuple[int, int] | None:
    """The size to fix: the one asked for, or the only one that the model takes."""
    own = model.input_shape[1:3]
    if None not in own and input_size not in (None, own):
        raise InputError(f"input_size={input_size}: model {model.name} takes {own} alone")
    size = input_size or (None if None in own else own)
    if size is None and not kind.open_size:
        raise InputError(f"a {kind.title} file takes images of one size: give `input_size`")
    return size


def _facts(model: keras.Model) -> dict[str, Any]:
    info = dataclasses.asdict(describe(model))
    classes = info.pop("classes")
    known = {name: value for name, value in info.items() if value is not None and name != "named"}
    return {"names": classes["names"], "colors": classes["colors"], "void": VOID, **known}


def _record(job: Job, kind: Format, size: int, proof: Proof) -> dict[str, Any]:
    shape = (None if kind.batches else 1, *job.size)
    scores = {"dtype": "float32", "shape": (*shape, job.model.output_shape[-1])}
    returned = {"dtype": "uint8", "shape": shape} if job.output == "classes" else scores
    return {
        "format": kind.title,
        "exporter": f"fcn-keras {package_version()}",
        "bytes": size,
        "input": {"name": INPUT, "pixels": "RGB 0..255", "dtype": "float32", "shape": (*shape, 3)},
        "output": {"name": job.output, **returned},
        "model": job.facts,
        "quantize": job.quantize,
        "calibrated_on": len(job.calibration),
        "tolerance": kind.tolerance(job.quantize),
        "proof": dataclasses.asdict(proof),
    }


@contextlib.contextmanager
def _staging(path: Path) -> Iterator[Path]:
    """A temporary folder beside `path`; a failure to write becomes a `SaveError`."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=path.parent, prefix=f".{path.name}-") as folder:
            yield Path(folder)
    except Exception as error:  # TensorFlow's own errors have no common base class
        reason = system_reason(error)
        if isinstance(error, InputError) or reason is None:
            raise
        raise SaveError(f"{path} can't be written ({reason}): fix this, then try again") from error


def _land(folder: Path, destination: Path) -> None:
    """Moves everything into place, a file's record last."""
    for staged in sorted(folder.iterdir(), key=lambda path: path.suffix == ".json"):
        target = destination / staged.name
        if target.is_dir():
            os.replace(target, folder / "former")
        os.replace(staged, target)
