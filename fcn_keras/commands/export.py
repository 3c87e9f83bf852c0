"""Writes a model for another runtime, and proves that it computes the same there."""

import os
import signal
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from fcn_keras.commands import cli
from fcn_keras.export.formats import FormatName, Precision, find
from fcn_keras_cli import fail


@dataclass(frozen=True, kw_only=True)
class Options(cli.Options):
    """Options of export."""

    model: cli.Model
    out: Path
    """The file to write, or a SavedModel's folder; an existing one is replaced."""
    format: FormatName | Literal["saved_model"] = "saved-model"
    """What to write: saved-model (TensorFlow), onnx (NAME.onnx), openvino (NAME.xml and NAME.bin),
    litert (NAME.tflite), stablehlo (NAME.stablehlo, for JAX), or compact (NAME.safetensors, with
    8-bit kernels, which the commands and fcn_keras.load_model read)."""
    input_size: tuple[int, int] | None = None
    """Height and width that the file takes. Default: any; litert needs them."""
    output: Literal["logits", "classes", "probabilities"] = "logits"
    """What the file returns for each pixel: its scores, its class as a byte, or its
    probabilities."""
    check: tuple[Path, ...] = ()
    """Photos for the comparison. Default: three that ship with the package."""
    quantize: Precision | None = None
    """Quantise (onnx, openvino, litert): float16 halves the file; int8 quarters it and computes in
    int8."""
    calibrate: tuple[Path, ...] = ()
    """Photos to calibrate int8 on. Default: three that ship with the package."""
    backend: Literal["jax"] = "jax"
    """Backend that runs the model itself in the comparison."""


def main(options: Options) -> None:
    """Writes the model in the chosen format."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    # As with Ctrl-C, unfinished files are removed.
    signal.signal(signal.SIGTERM, lambda number, _: sys.exit(128 + number))
    from fcn_keras.export import ExportError, export_model

    try:
        done = export_model(
            options.model,
            options.out,
            format=options.format,
            input_size=options.input_size,
            output=options.output,
            check=options.check,
            quantize=options.quantize,
            calibrate=options.calibrate,
        )
    except ExportError as error:
        if options.debug:
            raise
        fail(str(error), 1)
    proof = done.proof
    tolerance = find(options.format).tolerance(options.quantize)
    print(
        f"{done.path}: {done.bytes / 1e6:.1f} MB, {options.output}, {options.quantize or 'float32'}"
    )
    print(
        f"Largest difference from the model, in {proof.runtime} alone: {proof.difference:.1e} of "
        f"the logits' range (at most {tolerance:.0e}); another class at "
        f"{proof.pixels_changed:.2%} of the pixels"
    )
    print(f"{proof.images[0]}: {proof.milliseconds:.0f} ms, in JAX {proof.ours:.0f} ms")
    print(f"The proof, names and colours: {done.record}")
    if done.max_side is not None:
        print(
            f"The model expects photos with a longer side of at most {done.max_side} pixels: scale "
            "larger ones down before it sees them"
        )


def run() -> None:
    """The command."""
    cli.run(main, Options, __doc__)
