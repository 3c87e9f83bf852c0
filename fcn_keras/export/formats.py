"""The formats that a model can be written in."""

from __future__ import annotations

import importlib.util
from dataclasses import dataclass
from typing import Literal

from fcn_keras.errors import InputError, suggest

TOLERANCE = 1e-5
"""Largest difference that passes for what computes in float32, as a share of the logits' range."""

FormatName = Literal["saved-model", "onnx", "openvino", "litert", "stablehlo", "compact"]
"""What `export_model` and ``fcn-keras export`` take as a format."""


@dataclass(frozen=True)
class Format:
    """The facts of a format.

    Attributes:
        title: Its name, for people.
        suffix: How its files are named; empty for a folder.
        writer: The module here that writes it.
        packages: What writing and proving it imports.
        extra: The package's extra that installs these.
        open_size: Whether a file can take images of any size.
        batches: Whether a file takes more than one image at a time.
        extern: Whether its runtime needs nothing of ours.
        tolerance: Largest difference that passes, as a share of the range of the logits.
    """

    title: str
    suffix: str
    writer: str
    packages: tuple[str, ...] = ()
    extra: str | None = None
    open_size: bool = True
    batches: bool = True
    extern: bool = True
    tolerance: float = TOLERANCE


FORMATS: dict[FormatName, Format] = {
    "saved-model": Format("SavedModel", "", "saved_model", ("tensorflow",), "export"),
    "onnx": Format("ONNX", ".onnx", "onnx_file", ("onnx", "onnxruntime"), "export-onnx"),
    "openvino": Format("OpenVINO IR", ".xml", "openvino_ir", ("onnx", "openvino"), "openvino"),
    "litert": Format(
        title="LiteRT",
        suffix=".tflite",
        writer="litert",
        packages=("tensorflow", "ai_edge_litert"),
        extra="export-litert",
        open_size=False,
        batches=False,
    ),
    "stablehlo": Format("StableHLO", ".stablehlo", "stablehlo"),
    # Kernels of 8 bits.
    "compact": Format("compact model", ".safetensors", "compact", extern=False, tolerance=0.05),
}
"""The formats by name."""


def find(name: str) -> Format:
    """The format of that name, `saved_model` and the like included.

    >>> find("stablehlo").suffix, find("compact").extern
    ('.stablehlo', False)

    Raises:
        InputError: there is none, or a package that it needs is not installed.
    """
    key = name.replace("_", "-")
    if key not in FORMATS:
        raise InputError(f"format={name!r} is not known; {suggest(key, FORMATS)}")
    found = FORMATS[key]
    for package in found.packages:
        if importlib.util.find_spec(package) is None:
            raise InputError(
                f"format={key!r} needs {package}, which is not installed: "
                f"pip install fcn-keras[{found.extra}]"
            )
    return found
