"""The anatomy of our models: which layer belongs to which part, and how a model was built.

Layers are identified by their names. Trained files hold these, so they never change. Other modules
ask here what a layer is for.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal, get_args

import keras

from fcn_keras.errors import InputError
from fcn_keras.imports import without_tensorflow
from fcn_keras.models.names import Backbone, ModelName
from fcn_keras.models.vgg import BACKBONES, VGG

Part = Literal["backbone", "head", "scores", "upsampling"]

# The pools whose scores are added, in the decoder's order.
SKIPS: dict[ModelName, tuple[str, ...]] = {
    "fcn32s": (),
    "fcn16s": ("pool4",),
    "fcn8s": ("pool4", "pool3"),
}
HEAD = ("fc6", "fc7")

_PARTS: dict[Part, str] = {
    "backbone": r"block\d+_(conv\d+|pool)",
    "head": r"fc[67]",
    "scores": r"score_\w+?",
    "upsampling": r"upscore\w+?",
}
_ROLE = re.compile(
    f"({'|'.join(f'(?P<{part}>{name})' for part, name in _PARTS.items())})(_bn|_relu|_dropout)?"
)
# The builder's argument that decides the shapes of a part.
WIDTHS: dict[Part, str] = {
    "backbone": "backbone_width",
    "head": "head_width",
    "scores": "num_classes",
    "upsampling": "num_classes",
}


@dataclass(frozen=True, kw_only=True)
class Design:
    """The arguments that a model was built with.

    Raises:
        InputError: one has a value that is not possible.
    """

    model: ModelName = "fcn8s"
    num_classes: int = 21
    input_shape: tuple[int | None, int | None, int] = (None, None, 3)
    backbone: Backbone = "vgg16"
    backbone_width: int = 64
    head_width: int = 4096
    dropout: float | None = None
    upsampling: Literal["frozen", "learned"] | None = None
    geometry: Literal["same", "caffe"] = "same"
    batch_norm: bool = False
    at_once: bool = False

    def __post_init__(self) -> None:
        if self.dropout is None:
            object.__setattr__(self, "dropout", 0.1 if self.batch_norm else 0.5)
        if self.upsampling is None:
            object.__setattr__(self, "upsampling", "learned" if self.batch_norm else "frozen")
        for name in ("num_classes", "head_width", "backbone_width"):
            self._check(name, getattr(self, name) >= 1, "at least 1")
        self._check("dropout", 0 <= (self.dropout or 0) < 1, "at least 0 and below 1")
        for name, allowed in (
            ("upsampling", ("frozen", "learned")),
            ("geometry", ("same", "caffe")),
            ("backbone", get_args(Backbone)),
            ("model", get_args(ModelName)),
        ):
            quoted = [f'"{value}"' for value in allowed]
            listed = f"{', '.join(quoted[:-1])} or {quoted[-1]}"
            self._check(name, getattr(self, name) in allowed, listed)
        shape = self.input_shape
        self._check("input_shape", len(shape) == 3 and shape[2] == 3, "(H, W, 3)")
        both = self.model == "fcn8s"
        self._check("at_once", both or not self.at_once, "False: only fcn8s has both skips")

    def _check(self, argument: str, valid: bool, allowed: str) -> None:
        if not valid:
            value = getattr(self, argument)
            raise InputError(f"{argument}={value!r} is not possible: it must be {allowed}")

    @property
    def vgg(self) -> VGG:
        """The backbone's configuration."""
        return BACKBONES[self.backbone]

    @property
    def skips(self) -> tuple[str, ...]:
        """The pools whose scores are added, in the decoder's order."""
        return SKIPS[self.model]


def part(layer: str) -> Part | None:
    """The part that a layer of this name belongs to; None for those between the parts.

    >>> part("block3_conv1"), part("fc6_dropout"), part("score_pool4"), part("upscore8_bn")
    ('backbone', 'head', 'scores', 'upsampling')
    >>> part("crop_pool4")
    """
    found = _ROLE.fullmatch(layer)
    return next((name for name in _PARTS if found[name]), None) if found else None


def block(layer: str) -> int | None:
    """The number of the backbone's block that a layer of this name is in, counted from 1."""
    return int(layer[5 : layer.index("_")]) if part(layer) == "backbone" else None


@without_tensorflow()
def design_of(model: keras.Model) -> Design:
    """The arguments that would build `model`, read from its layers.

    Raises:
        InputError: it is not a model of `fcn8s`, `fcn16s` or `fcn32s`.
    """
    configs = {layer.name: layer.get_config() for layer in model.layers}
    return read_design(configs, model.name)


def read_design(configs: Mapping[str, Mapping[str, Any]], name: str) -> Design:
    """As `design_of`, from the configurations of the layers by name.

    Raises:
        InputError: they are not one of our models. The message calls it `name`.
    """
    needed = {"image", "normalize", "block1_conv1", *HEAD, "fc6_dropout", "score_fr", "crop"}
    backbone = backbone_of(configs)
    if not configs.keys() >= needed or backbone is None:
        missing = ", ".join(sorted(needed - configs.keys())) or "the blocks of a known backbone"
        raise InputError(
            f"model {name!r} lacks {missing}: it must be built by fcn8s, fcn16s or fcn32s"
        )
    skips = tuple(tap for tap in SKIPS["fcn8s"] if f"score_{tap}" in configs)
    # Python's own types, since JSON and Keras' trackers leave others.
    _, *size, channels = configs["image"]["batch_shape"]
    upsampling = [config for layer, config in configs.items() if layer.startswith("upscore")]
    learned = any(config.get("trainable") and "strides" in config for config in upsampling)
    return Design(
        model=next(model for model, taps in SKIPS.items() if taps == skips),
        num_classes=configs["score_fr"]["filters"],
        input_shape=(*size, channels),
        backbone=backbone,
        backbone_width=configs["block1_conv1"]["filters"],
        head_width=configs["fc6"]["filters"],
        dropout=configs["fc6_dropout"]["rate"],
        upsampling="learned" if learned else "frozen",
        geometry="caffe" if "pad" in configs else "same",
        batch_norm="fc6_bn" in configs,
        at_once="scale_pool4" in configs,
    )


def backbone_of(layers: Iterable[str]) -> Backbone | None:
    """The backbone that has exactly the convolutions among these names of layers."""
    names = {layer for layer in layers if part(layer) == "backbone"}
    convolutions = {layer for layer in names if re.fullmatch(r"block\d+_conv\d+", layer)}
    batch_norm = any(layer.endswith("_bn") for layer in names)
    for name, vgg in BACKBONES.items():
        if set(vgg.names) == convolutions and vgg.batch_norm == batch_norm:
            return name
    return None
