"""What is measured: a network at one size; and the options that say so."""

from __future__ import annotations

import importlib.util
import itertools
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Literal

from experiments.benchmark.report import Report
from fcn_keras import cpu
from fcn_keras.commands import cli
from fcn_keras.errors import InputError
from fcn_keras.models.names import ModelName, Precision

Tell = Callable[[str], None]
"""Takes a line about what is being done."""

OURS = {
    "ours": (),
    "ours-stock-upsampling": ("upsampling",),
    "ours-stock-convolutions": ("convolutions",),
    "ours-stock-pools": ("pools",),
    "ours-default-xla": ("compiler",),
    "ours-default-memory": ("memory",),
    "ours-stock": cpu.ALGORITHMS,
}
"""Ours as users get it, and without some or all of the algorithms that make it faster."""
PYTORCH = ("torch", "torch-channels-last", "torch-compile")
KEPT_MEMORY = ("torch-kept-memory", "torch-channels-last-kept-memory")
"""PyTorch told to keep freed memory, as ours does."""
RUNTIMES = ("onnxruntime", "openvino")
Contender = Literal[*OURS, *PYTORCH, *KEPT_MEMORY, *RUNTIMES]


@dataclass(frozen=True, kw_only=True)
class Case:
    """One measurement, the same for every contender.

    Images are square, uint8, and on the device before the clock starts; so are the masks.
    """

    verb: Literal["predict", "train", "upsample"]
    model: ModelName = "fcn8s"
    size: int = 480  # Height and width of the images, pixels.
    batch: int = 1
    precision: Precision = "float32"
    num_classes: int = 21
    backbone_width: int = 64
    head_width: int = 4096
    stride: int | None = None  # Of "upsample", which measures that layer alone.

    def __str__(self) -> str:
        shape = f"{self.batch} x {self.size} x {self.size}"
        if self.verb == "upsample":
            return f"upsample by {self.stride} to {shape} x {self.num_classes}"
        return f"{self.verb} {self.model}, {shape}, {self.precision}"


@dataclass(frozen=True, kw_only=True)
class Options(cli.Options):
    """Options of every verb."""

    repeats: int = 5  # Turns that each contender gets.
    json: Path | None = None  # Write the figures to this file too.


@dataclass(frozen=True, kw_only=True)
class Networks(Options):
    """Options of the verbs that measure whole networks, in every combination."""

    training: ClassVar[bool] = False
    """Whether training steps are measured. Some verbs have it as an option."""

    models: tuple[ModelName, ...] = ("fcn8s",)  # Networks, measured one after the other.
    sizes: tuple[int, ...] = (480,)  # Heights and widths of the images, multiples of 32.
    batches: tuple[int, ...] = (1,)  # Images at a time.
    precision: Precision = "float32"  # Type of the convolutions.
    backbone_width: int = 64  # Filters of the first block; 64 is VGG16.
    head_width: int = 4096  # Filters of fc6 and fc7.
    matrix: int | None = None
    """Height and width of the matrices whose product `roofline` takes as the machine's limit.
    Default: 4096 on a CPU, 16384 elsewhere."""

    def cases(self) -> Iterator[Case]:
        """Every combination of the options.

        Raises:
            InputError: a size is not a multiple of 32, which PyTorch's upsampling needs.
        """
        for model, size, batch in itertools.product(self.models, self.sizes, self.batches):
            if size < 32 or size % 32:
                raise InputError(f"--sizes {size}: give multiples of 32")
            yield Case(
                verb="train" if self.training else "predict",
                model=model,
                size=size,
                batch=batch,
                precision=self.precision,
                backbone_width=self.backbone_width,
                head_width=self.head_width,
            )

    def run(self, tell: Tell) -> Iterator[Report]:
        """Measures the cases one after the other."""
        for case in self.cases():
            yield self.report(case, tell)

    def report(self, case: Case, tell: Tell) -> Report:
        """Measures one case."""
        raise NotImplementedError


def installed(*packages: str) -> bool:
    """Whether all `packages` can be imported."""
    return all(importlib.util.find_spec(package) for package in packages)
