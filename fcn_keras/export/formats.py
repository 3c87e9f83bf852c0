"""The formats that a model can be written in."""

from __future__ import annotations

import importlib.util
from dataclasses import dataclass
from typing import Literal

from fcn_keras.errors import InputError, suggest

TOLERANCE = 1e-5
"""Largest difference accepted of a file in float32, as a share of the logits' range."""

Precision = Literal["float16", "int8"]
"""Types of numbers that a file can hold in place of float32."""

TOLERANCES: dict[Precision, float] = {"float16": 2e-3, "int8": 5e-2}
"""Largest differences accepted of quantised files."""

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
        precisions: What it can be quantised to.
        own_tolerance: As `tolerance`, where nothing is quantised.
    """

    title: str
    suffix: str
    writer: str
    packages: tuple[str, ...] = ()
    extra: str | None = None
    open_size: bool = True
    batches: bool = True
    extern: bool = True
    precisions: tuple[Precision, ...] = ()
    own_tolerance: float = TOLERANCE

    def tolerance(self, quantize: Precision | None = None) -> float:
        """Largest difference that is accepted, as a share of the logits' range.

        >>> FORMATS["onnx"].tolerance(), FORMATS["onnx"].tolerance("int8")
        (1e-05, 0.05)
        """
        return TOLERANCES[quantize] if quantize else self.own_tolerance


FORMATS: dict[FormatName, Format] = {
    "saved-model": Format("SavedModel", "", "saved_model", ("tensorflow",), "export"),
    "onnx": Format(
        title="ONNX",
        suffix=".onnx",
        writer="onnx_file",
        packages=("onnx", "onnxruntime"),
        extra="export-onnx",
        precisions=("float16", "int8"),
    ),
    "openvino": Format(
        title="OpenVINO IR",
        suffix=".xml",
        writer="openvino_ir",
        packages=("onnx", "onnxruntime", "openvino"),
        extra="openvino",
        precisions=("float16", "int8"),
    ),
    "litert": Format(
        title="LiteRT",
        suffix=".tflite",
        writer="litert",
        packages=("tensorflow", "ai_edge_litert"),
        extra="export-litert",
        open_size=False,
        batches=False,
        precisions=("float16", "int8"),
    ),
    "stablehlo": Format("StableHLO", ".stablehlo", "stablehlo"),
    # Kernels of 8 bits.
    "compact": Format("compact model", ".safetensors", "compact", extern=False, own_tolerance=0.05),
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
