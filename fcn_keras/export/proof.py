"""The proof of every export: its runtime, in a fresh process, against the model."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import keras
import numpy as np
from PIL import Image

from fcn_keras.data.images import read_image
from fcn_keras.data.reduced import reduce_photo
from fcn_keras.export import serve
from fcn_keras.export.formats import Format, Precision
from fcn_keras.export.job import Output, pure

# A cat (Stefan van der Walt) and a cup of coffee (Rachel Michetti), both CC0, and the astronaut
# Eileen Collins (NASA, public domain).
PHOTOS = tuple(sorted((Path(__file__).parent / "photos").glob("*.jpg")))
# A batch of noise too, of an odd height.
NOISE = (2, 75, 106)


class ExportError(RuntimeError):
    """A written file can't be run, or doesn't compute what the model computes."""


@dataclass(frozen=True, kw_only=True)
class Proof:
    """How an exported file compares with the model that it was written from.

    Attributes:
        runtime: Name and version of the package that ran the file.
        images: Names and sizes of the images compared on.
        difference: The largest, as a share of the range of the logits. For probabilities that of
            a probability; for classes how far the chosen class's logit lies below the largest.
        pixels_changed: The share of pixels with another class.
        milliseconds: The runtime's time for the first image.
        ours: The model's time for it, in milliseconds.
    """

    runtime: str
    images: list[str]
    difference: float
    pixels_changed: float
    milliseconds: float
    ours: float


def images_of(
    photos: Sequence[str | os.PathLike],
    size: tuple[int, int] | None,
    batches: bool,
    max_side: int | None = None,
) -> dict[str, np.ndarray]:
    """The images to compare on, float32 ``(B, H, W, 3)``, by name.

    Args:
        photos: Files; without any, the package's.
        size: ``(H, W)`` to resize them to; None leaves them as the model is to see them.
        batches: Whether the file takes more than one image at a time; if so there is one of noise.
        max_side: The longest side at which the model is to see a photo, if it says so.

    Raises:
        InputError: a photo can't be read.
    """
    images = {}
    for path in photos or PHOTOS:
        photo = read_image(Path(path))
        if size is not None:
            photo = np.asarray(Image.fromarray(photo).resize(size[::-1]))
        elif max_side is not None:
            photo = reduce_photo(photo, max_side)
        images[f"{Path(path).name} {photo.shape[1]}x{photo.shape[0]}"] = photo[None]
    if batches:
        batch, height, width = (NOISE[0], *size) if size else NOISE
        noise = np.random.default_rng(0).integers(0, 256, (batch, height, width, 3))
        images[f"{batch} of noise {width}x{height}"] = noise
    return {name: image.astype(np.float32) for name, image in images.items()}


def prove(
    model: keras.Model,
    path: Path,
    kind: Format,
    output: Output,
    images: dict[str, np.ndarray],
    quantize: Precision | None = None,
) -> Proof:
    """As `compare`.

    Raises:
        ExportError: also where the difference is above the format's tolerance.
    """
    proof = compare(model, path, kind, output, images)
    tolerance = kind.tolerance(quantize)
    if not proof.difference <= tolerance:
        raise ExportError(
            f"{proof.runtime} computes other {output} from the {kind.title} than the model: they "
            f"differ by {proof.difference:.1e} of the logits' range, more than "
            f"{tolerance:.0e}; nothing was written"
        )
    return proof


def compare(
    model: keras.Model, path: Path, kind: Format, output: Output, images: dict[str, np.ndarray]
) -> Proof:
    """Runs an exported file in a fresh process, and the model in this one.

    Args:
        model: What was exported.
        path: The file.
        kind: Its format.
        output: What it returns.
        images: As from `images_of`.

    Raises:
        ExportError: the runtime can't run the file, or it returns another shape.
    """
    outputs, served = _serve(path, kind, list(images.values()))
    logits, ours = _compute(model, list(images.values()))
    pairs = list(zip(logits, outputs, strict=True))
    for expected, returned in pairs:
        wanted = expected.shape[: 3 if output == "classes" else 4]
        if returned.shape != wanted:
            raise ExportError(f"{path.name} returns {returned.shape} in place of {wanted}")
    return Proof(
        runtime=served["runtime"],
        images=list(images),
        difference=max(_difference(*pair, output) for pair in pairs),
        pixels_changed=_changed(pairs, output),
        milliseconds=served["milliseconds"][0],
        ours=ours,
    )


def _compute(model: keras.Model, images: list[np.ndarray]) -> tuple[list[np.ndarray], float]:
    """The model's logits, and the milliseconds for the first image."""
    import jax

    from fcn_keras.cpu import runtime

    predict, values = pure(model)
    run = runtime.tuned_jit(predict)
    values = [jax.device_put(value) for value in values]
    with jax.default_matmul_precision("highest"):
        logits = [np.asarray(run(values, image)) for image in images]
        start = time.perf_counter()
        np.asarray(run(values, images[0]))
    return logits, 1000 * (time.perf_counter() - start)


def _serve(path: Path, kind: Format, images: list[np.ndarray]) -> tuple[list[np.ndarray], dict]:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for index, image in enumerate(images):
            np.save(folder / f"{index:04}.npy", image)
        done = subprocess.run(
            [sys.executable, "-P", serve.__file__, kind.writer, str(path), name],
            env={**os.environ, "CUDA_VISIBLE_DEVICES": "-1", "TF_CPP_MIN_LOG_LEVEL": "2"},
            capture_output=True,
            text=True,
        )
        if done.returncode:
            reason = (done.stderr.strip().splitlines() or [f"status {done.returncode}"])[-1]
            raise ExportError(f"{serve.RUNTIMES[kind.writer][0]} can't run {path.name}: {reason}")
        outputs = [np.load(folder / f"{index:04}.out.npy") for index in range(len(images))]
        return outputs, json.loads((folder / "served.json").read_text())


def _difference(logits: np.ndarray, output: np.ndarray, kind: Output) -> float:
    spread = max(np.ptp(logits), np.finfo(np.float32).tiny)
    if kind == "classes":
        if output.max() >= logits.shape[-1]:
            return float("inf")
        chosen = np.take_along_axis(logits, output[..., None].astype(np.intp), axis=-1)
        distance = logits.max(axis=-1, keepdims=True) - chosen
    elif kind == "probabilities":
        powers = np.exp(logits - logits.max(axis=-1, keepdims=True))
        distance = np.abs(powers / powers.sum(axis=-1, keepdims=True) - output)
    else:
        distance = np.abs(logits - output)
    return float(distance.max() / spread)


def _changed(pairs: Sequence[tuple[np.ndarray, np.ndarray]], kind: Output) -> float:
    """The share of pixels with another class than the model's."""
    changed = [
        np.argmax(logits, axis=-1) != (output if kind == "classes" else np.argmax(output, axis=-1))
        for logits, output in pairs
    ]
    return float(np.mean(np.concatenate([pixels.ravel() for pixels in changed])))
