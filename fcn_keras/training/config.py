"""Every setting of a training run, in one frozen record."""

from __future__ import annotations

from dataclasses import InitVar, dataclass
from pathlib import Path
from typing import Literal

from fcn_keras.data.catalog import DataFolder, DatasetName
from fcn_keras.errors import InputError
from fcn_keras.models.names import Backbone, ModelName, Precision
from fcn_keras.training.budget import seconds_of


@dataclass(frozen=True, kw_only=True)
class DataConfig:
    """The data and its augmentation."""

    dataset: DatasetName = "shapes"
    data_dir: DataFolder = None
    train_split: str = "train"
    """Split to train on."""
    val_split: str = "val"
    """Split to validate on; the best mean IoU there decides which model is kept."""
    max_val_images: int | None = None
    """Validate on this many images only, the first ones of the split."""
    max_side: int | None = None
    """Scale larger photos down until their longer side has this many pixels; the model predicts
    photos that way too. Default: photos keep their size."""
    crop_size: int = 480
    """Height and width of a training crop, pixels."""
    min_scale: float = 0.5
    """Smallest random scale factor."""
    max_scale: float = 2.0
    """Largest random scale factor."""
    color_jitter: float = 0.0
    """Strength of random brightness, contrast and saturation, 0 to 1."""
    workers: int = 0
    """Processes that read and augment images; 0 uses threads of this one."""


@dataclass(frozen=True, kw_only=True)
class ModelConfig:
    """The network and what it starts from."""

    model: ModelName = "fcn8s"
    """Network."""
    backbone: Backbone = "vgg16"
    """ImageNet classifier that the network is built on."""
    backbone_width: int = 64
    """Filters of the backbone's first block; 64 is VGG."""
    head_width: int = 4096
    """Filters of fc6 and fc7; 4096 in the paper."""
    dropout: float | None = None
    """Dropout rate after fc6 and fc7. Default: 0.5, or 0.1 with batch normalisation."""
    upsampling: Literal["frozen", "learned"] | None = None
    """Fixed bilinear kernels, or trained ones that start bilinear. Default: frozen, or learned with
    batch normalisation."""
    geometry: Literal["same", "caffe"] = "same"
    """Padding that keeps sizes, or the original's 100 pixels and crops."""
    batch_norm: bool = False
    """Batch normalisation in the head and after each upsampling."""
    at_once: bool = False
    """FCN-8s with scaled skips, for training in one stage."""
    weights: Path | None = None
    """Pretrained weights to start from, such as torchvision's VGG16 .pth."""
    init_from: Path | None = None
    """Trained model to start from, a file or voc2012: fewer skips or another number of classes are
    fine."""
    freeze_until: str | None = None
    """Train only the layers after this block, e.g. block3."""
    precision: Precision = "float32"
    """Type of the convolutions; weights, scores and loss are float32 in both."""


@dataclass(frozen=True, kw_only=True)
class OptimisationConfig:
    """How the weights are updated."""

    batch_size: int = 16
    """Crops per step, over all devices."""
    accumulate: int = 1
    """Split each batch into this many parts to save memory; the gradient is the same."""
    epochs: int = 60
    """Passes over the training split."""
    max_steps: int | None = None
    """Stop after this many steps even if epochs are left."""
    optimizer: Literal["sgd", "adamw"] = "sgd"
    """Update rule."""
    learning_rate: float = 0.01
    """Rate of the kernels at the start (after warm-up)."""
    backbone_rate: float = 1.0
    """Factor on the rate of the backbone."""
    bias_rate: float = 2.0
    """Factor on the rate of the biases, which have no weight decay."""
    schedule: Literal["constant", "poly"] = "poly"
    """Constant rate, or falling to zero as (1 - step / steps) ** 0.9."""
    warmup_steps: int = 0
    """Steps over which the rate rises from zero."""
    momentum: float = 0.9
    """Momentum of SGD, or the first decay rate of AdamW."""
    weight_decay: float = 5e-4
    """Weight decay of the kernels."""
    clip_norm: float | None = None
    """Largest global norm of the gradient; it is scaled down to it."""
    loss: Literal["mean", "sum", "focal", "dice", "lovasz", "ce_dice"] = "mean"
    """Cross-entropy averaged over the batch's labelled pixels, or summed as in the original;
    or focal loss (mean), Dice, Lovász-softmax, or mean cross-entropy + Dice."""
    class_weights: tuple[float, ...] | Literal["balanced"] | None = None
    """Factor on the loss of each class's pixels, in the order of the classes, or "balanced": the
    median frequency of the classes over their own, at most 10. Default: all 1."""
    ema_decay: float | None = None
    """Evaluate and keep an exponential moving average of the weights with this decay, e.g.
    0.999, instead of the weights themselves."""


@dataclass(frozen=True, kw_only=True)
class RunConfig:
    """Seed, validation and checkpoints."""

    seed: int = 0
    """Seed of initial weights, data order, augmentation and dropout."""
    val_epochs: int = 1
    """Validate every this many epochs, and after the last step."""
    patience: int | None = None
    """Stop after this many validations in a row without a better mean IoU."""
    time_budget: str | None = None
    """Shorten the schedule so that the run, with its validations, ends within this time, such as
    90m or 1h30m: the first steps are timed."""
    eval_batch_size: int = 1
    """Batch size of validation."""
    bucket: int = 128
    """Validation images are padded to multiples of this many pixels, so that few shapes compile."""
    checkpoint_steps: int = 1000
    """Save a checkpoint every this many steps, besides the one after each epoch."""


@dataclass(frozen=True, kw_only=True)
class TrainConfig(RunConfig, OptimisationConfig, ModelConfig, DataConfig):
    """All settings of a run. With the data and the package versions they determine the result.

    The fields' texts are the help of ``fcn-keras train``.
    """

    trunk_width: InitVar[int | None] = None
    """The first release's name for backbone_width."""
    trunk_rate: InitVar[float | None] = None
    """The first release's name for backbone_rate."""

    def __post_init__(self, trunk_width: int | None, trunk_rate: float | None) -> None:
        if trunk_width is not None:
            object.__setattr__(self, "backbone_width", trunk_width)
        if trunk_rate is not None:
            object.__setattr__(self, "backbone_rate", trunk_rate)
        positive = (
            "crop_size",
            "batch_size",
            "accumulate",
            "epochs",
            "val_epochs",
            "learning_rate",
        )
        for field in (*positive, "eval_batch_size", "bucket", "checkpoint_steps"):
            if getattr(self, field) <= 0:
                raise InputError(f"{field}={getattr(self, field)} must be above 0")
        for field in ("max_steps", "max_val_images", "max_side", "clip_norm", "patience"):
            value = getattr(self, field)
            if value is not None and value <= 0:
                raise InputError(f"{field}={value} must be above 0, or None for no limit")
        for field in ("warmup_steps", "workers", "weight_decay", "momentum"):
            if getattr(self, field) < 0:
                raise InputError(f"{field}={getattr(self, field)} must be at least 0")
        if self.batch_size % self.accumulate:
            raise InputError(
                f"accumulate={self.accumulate} does not divide batch_size={self.batch_size}"
            )
        if self.ema_decay is not None and not 0 <= self.ema_decay < 1:
            raise InputError(f"ema_decay={self.ema_decay} must be from 0 to below 1")
        self._check_loss()
        self._check_budget()
        if self.at_once and self.model != "fcn8s":
            raise InputError(f"at_once scales the skips of fcn8s: model={self.model} lacks one")

    def _check_budget(self) -> None:
        if self.time_budget is None:
            return
        try:
            seconds_of(self.time_budget)
        except ValueError:
            raise InputError(
                f"time_budget={self.time_budget} is not a duration: write hours, minutes or "
                "seconds, such as 90m or 1h30m"
            ) from None

    def _check_loss(self) -> None:
        weights = self.class_weights
        if isinstance(weights, str):
            if weights != "balanced":
                raise InputError(f"class_weights={weights} must be numbers, or balanced")
        elif weights is not None and not (min(weights, default=0) >= 0 and sum(weights) > 0):
            raise InputError(f"class_weights={weights} must be numbers of at least 0, not all 0")
        if self.loss in ("dice", "lovasz") and weights is not None:
            raise InputError(
                f"class_weights weigh pixels, and loss={self.loss} averages classes: leave them "
                "out, or take loss=ce_dice"
            )
        if self.loss in ("dice", "lovasz", "ce_dice") and self.accumulate > 1:
            raise InputError(
                f"accumulate={self.accumulate} is not possible with loss={self.loss}, which is of "
                "the whole batch and no sum over its parts: accumulate=1 and a smaller batch_size"
            )
