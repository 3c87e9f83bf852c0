"""What is measured: one network, or one upsampling, at one size; and the options to say it."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from fcn_keras.commands import cli
from fcn_keras.errors import InputError
from fcn_keras.models.names import Precision

Tell = Callable[[str], None]
"""Takes a line about what is being done."""
Model = Literal["fcn8s", "fcn16s", "fcn32s"]
PYTORCH = ("torch", "torch-channels-last", "torch-compile")

# Beside ours as users get it stands ours without one of what makes it faster, and without all of
# it; so does PyTorch with freed memory kept, which it can be told to do.
Contender = Literal[
    "ours",
    "ours-stock-upsampling",
    "ours-stock-convolutions",
    "ours-stock-pools",
    "ours-default-xla",
    "ours-default-memory",
    "ours-stock",
    "torch",
    "torch-channels-last",
    "torch-compile",
    "torch-kept-memory",
    "torch-channels-last-kept-memory",
    "onnxruntime",
    "openvino",
]
RUNTIMES = ("onnxruntime", "openvino")


@dataclass(frozen=True, kw_only=True)
class Case:
    """One measurement, the same for every contender.

    Images are square, uint8, and on the device before the clock starts; so are the masks.
    """

    verb: Literal["predict", "train", "upsample"]
    model: Model = "fcn8s"
    size: int = 480  # Height and width of the images; of the upsampled map for `upsample`. Pixels.
    batch: int = 1
    precision: Precision = "float32"
    num_classes: int = 21
    backbone_width: int = 64
    head_width: int = 4096
    stride: int = 8  # Of the upsampling; `upsample` only.

    def __str__(self) -> str:
        what = f"x{self.stride}" if self.verb == "upsample" else self.model
        return f"{self.verb} {what}, {self.batch} x {self.size} x {self.size}, {self.precision}"


@dataclass(frozen=True, kw_only=True)
class Options(cli.Options):
    """What every verb can be told."""

    repeats: int = 5  # Turns that each contender gets.
    json: Path | None = None  # Write the figures to this file too.


@dataclass(frozen=True, kw_only=True)
class Networks(Options):
    """The networks of a verb that measures whole ones: every combination."""

    models: tuple[Model, ...] = ("fcn8s",)  # Networks, measured one after the other.
    sizes: tuple[int, ...] = (480,)  # Heights and widths of the images, multiples of 32.
    batches: tuple[int, ...] = (1,)  # Images at a time.
    precision: Precision = "float32"  # Type of the convolutions.
    backbone_width: int = 64  # Filters of the first block; 64 is VGG16.
    head_width: int = 4096  # Filters of fc6 and fc7.
    matrix: int | None = None
    """Height and width of the matrices whose product is taken as the machine's limit. Default: 4096
    on a CPU, 16384 elsewhere."""

    def cases(self, verb: Literal["predict", "train"]) -> list[Case]:
        """Every combination of the options.

        Raises:
            InputError: A size is not a multiple of 32, which PyTorch's upsampling needs.
        """
        for size in self.sizes:
            if size < 32 or size % 32:
                raise InputError(f"--sizes {size}: give multiples of 32")
        widths = {"backbone_width": self.backbone_width, "head_width": self.head_width}
        return [
            Case(verb=verb, model=model, size=size, batch=batch, precision=self.precision, **widths)
            for model in self.models
            for size in self.sizes
            for batch in self.batches
        ]


def contenders(verb: str, wanted: tuple[Contender, ...]) -> tuple[Contender, ...]:
    """Those asked for, or else ours and what this machine can run beside it.

    Raises:
        InputError: a runtime is asked to do anything but predict.
    """
    if wanted:
        for contender in wanted:
            if contender in RUNTIMES and verb != "predict":
                raise InputError(f"--contenders {contender} can't {verb}: leave it out")
        return wanted
    found: list[Contender] = ["ours"]
    if installed("torch"):
        found += PYTORCH
        if verb == "predict" and installed("onnxruntime") and installed("onnxscript"):
            found.append("onnxruntime")
    if verb == "predict" and installed("openvino") and installed("onnx"):
        found.append("openvino")
    return tuple(found)


def installed(package: str) -> bool:
    """Whether `package` can be imported."""
    return importlib.util.find_spec(package) is not None
