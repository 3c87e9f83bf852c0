"""The command line's verbs and their options."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from experiments.benchmark.case import Contender
from fcn_keras.commands import cli


@dataclass(frozen=True, kw_only=True)
class Common(cli.Options):
    repeats: int = 5
    """Turns that each contender gets."""
    json: Path | None = None
    """Write the figures to this file too."""


@dataclass(frozen=True, kw_only=True)
class Network(Common):
    models: tuple[Literal["fcn8s", "fcn16s", "fcn32s"], ...] = ("fcn8s",)
    """Networks, measured one after the other."""
    sizes: tuple[int, ...] = (480,)
    """Heights and widths of the images, multiples of 32."""
    batches: tuple[int, ...] = (1,)
    """Images at a time."""
    precision: Literal["float32", "bfloat16"] = "float32"
    """Type of the convolutions."""
    trunk_width: int = 64
    """Filters of the first block; 64 is VGG16."""
    head_width: int = 4096
    """Filters of fc6 and fc7."""
    matrix: int | None = None
    """Height and width of the matrices whose product is taken as the machine's limit. Default: 4096
    on a CPU, 16384 elsewhere."""


@dataclass(frozen=True, kw_only=True)
class Compared(Network):
    contenders: tuple[Contender, ...] = ()
    """Who takes part. Default: ours, and whatever of the others is installed."""


@dataclass(frozen=True, kw_only=True)
class Predict(Compared):
    """Pixels on the device to logits on the device."""


@dataclass(frozen=True, kw_only=True)
class Train(Compared):
    """A step of SGD with momentum and weight decay, on synthetic images on the device."""


@dataclass(frozen=True, kw_only=True)
class Upsample(Common):
    """A learned upsampling of class scores, forward and backward."""

    strides: tuple[int, ...] = (2, 8, 16, 32)
    """Factors; the kernels are twice as large."""
    size: int = 480
    """Height and width of the result, a multiple of the strides."""
    batch: int = 1
    """Maps at a time."""
    num_classes: int = 21
    """Channels of the scores."""
    contenders: tuple[Contender, ...] = ()
    """Who takes part. Default: ours, and whatever of the others is installed."""


@dataclass(frozen=True, kw_only=True)
class Roofline(Network):
    """Operations and bytes of each layer, the least time they allow, and the time they take."""

    training: bool = False
    """Count and measure the gradients too."""
    measure: bool = True
    """Time each layer alone."""


@dataclass(frozen=True, kw_only=True)
class Profile(Network):
    """Time of a call in each layer, forward and backward, from JAX's profiler."""

    training: bool = True
    """Profile a training step instead of a prediction."""
    calls: int = 10
    """Calls to take the mean of."""


@dataclass(frozen=True, kw_only=True)
class Largest(Compared):
    """The largest batch that each contender can run, doubling from --batches on."""

    training: bool = True
    """Try training steps instead of predictions."""
    limit: int = 1024
    """Stop at this batch."""


@dataclass(frozen=True, kw_only=True)
class Fed(Network):
    """Training steps fed from files, beside the same steps on a batch that stays on the device."""

    dataset: str = "shapes"
    """shapes, voc2012, camvid, folder or tfds:NAME."""
    data_dir: Path | None = None
    """Folder of the data set."""
    split: str = "train"
    """Split to read."""
    workers: int = 0
    """Processes that read and augment images; 0 uses threads of this one."""
    seconds: float = 10.0
    """Length of a turn."""


@dataclass(frozen=True, kw_only=True)
class Data(Common):
    """Training batches a second, from files to augmented arrays."""

    dataset: str = "shapes"
    """shapes, voc2012, camvid, folder or tfds:NAME."""
    data_dir: Path | None = None
    """Folder of the data set."""
    split: str = "train"
    """Split to read."""
    size: int = 480
    """Height and width of a crop, pixels."""
    batch: int = 16
    """Crops at a time."""
    workers: tuple[int, ...] = (0, 1, 2)
    """Numbers of worker processes to try."""
    seconds: float = 10.0
    """Length of a turn."""
    samples: int = 200
    """Images to time the single steps on."""
    demand: float = 600.0
    """Images a second that a trainer would take, for the count of cores it needs."""


@dataclass(frozen=True, kw_only=True)
class Startup(Network):
    """A fresh process until its first segmented image, with and without a compilation cache."""
