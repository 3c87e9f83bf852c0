"""What is measured: one network, or one upsampling, at one size."""

from __future__ import annotations

import importlib.util
from dataclasses import dataclass
from typing import Literal

from fcn_keras.errors import InputError

PYTORCH = ("torch", "torch-channels-last", "torch-compile")

# Ours without one of what makes it faster (upsampling, convolutions, pools, compiler options, freed
# memory kept), and without all of them, stands beside what users get; so does PyTorch with the last
# of them, which it can be told to have.
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
]


@dataclass(frozen=True, kw_only=True)
class Case:
    """One measurement, the same for every contender.

    Images are square, uint8, and on the device before the clock starts; so are the masks.
    """

    verb: Literal["predict", "train", "upsample"]
    model: Literal["fcn8s", "fcn16s", "fcn32s"] = "fcn8s"
    size: int = 480
    """Height and width of the images; of the upsampled map for `upsample`. Pixels."""
    batch: int = 1
    precision: Literal["float32", "bfloat16"] = "float32"
    num_classes: int = 21
    trunk_width: int = 64
    head_width: int = 4096
    stride: int = 8
    """Of the upsampling; `upsample` only."""

    def __str__(self) -> str:
        what = (
            f"upsample x{self.stride}" if self.verb == "upsample" else f"{self.verb} {self.model}"
        )
        return f"{what}, {self.batch} x {self.size} x {self.size}, {self.precision}"


def contenders(verb: str, wanted: tuple[Contender, ...]) -> tuple[Contender, ...]:
    """Those asked for, or else ours and what this machine can run beside it.

    Raises:
        InputError: ONNX Runtime is asked to do anything but predict.
    """
    if wanted:
        if "onnxruntime" in wanted and verb != "predict":
            raise InputError(f"--contenders onnxruntime can't {verb}: leave it out")
        return wanted
    found: list[Contender] = ["ours"]
    if installed("torch"):
        found += PYTORCH
        if verb == "predict" and installed("onnxruntime") and installed("onnxscript"):
            found.append("onnxruntime")
    return tuple(found)


def installed(package: str) -> bool:
    """Whether it can be imported."""
    return importlib.util.find_spec(package) is not None
