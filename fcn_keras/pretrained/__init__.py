"""The networks with weights: those of a file that `load_weights` reads, or of a trained model.

The trained models are the files ``NAME-fcn8s.safetensors`` in this folder, part of the wheel.
"""

from __future__ import annotations

import dataclasses
from os import PathLike
from pathlib import Path
from typing import Any

import keras

from fcn_keras import models, saving
from fcn_keras.errors import InputError
from fcn_keras.models.anatomy import design_of
from fcn_keras.models.names import ModelName
from fcn_keras.weights import load_weights

FOLDER = Path(__file__).parent
Weights = str | PathLike | None


def fcn32s(
    num_classes: int | None = None, *, weights: Weights = None, **options: Any
) -> keras.Model:
    """FCN-32s: the scores of fc7 upsampled 32 times. Options as in `fcn8s`, without `at_once`."""
    return _build("fcn32s", num_classes, weights, options)


def fcn16s(
    num_classes: int | None = None, *, weights: Weights = None, **options: Any
) -> keras.Model:
    """FCN-16s: adds the scores of pool4, upsamples 16 times. Options as `fcn32s`'s."""
    return _build("fcn16s", num_classes, weights, options)


def fcn8s(
    num_classes: int | None = None, *, weights: Weights = None, **options: Any
) -> keras.Model:
    """FCN-8s: adds the scores of pool4 and pool3, upsamples 8 times.

    The model takes RGB images ``(B, H, W, 3)`` with values 0..255 (uint8 or float), of any height
    and width of at least one pixel, and returns logits ``(B, H, W, num_classes)`` in float32.

    Args:
        num_classes: Classes including the background. None means those of a trained model that
            `weights` names, or else 21, as in PASCAL VOC.
        weights: A file that `fcn_keras.load_weights` reads, such as torchvision's VGG16; or the
            name of a trained model of this package. Such a model gives the other options their
            defaults; with another number of classes its scores are left out, as in
            `fcn_keras.init_from`.
        at_once: Scale pool4 by 0.01 and pool3 by 0.0001 before their scores, for training in
            one stage.
        input_shape: ``(height, width, 3)``; None leaves a size open.
        backbone: ``"vgg13"``, ``"vgg16"``, ``"vgg16_bn"`` (batch normalisation after every
            convolution) or ``"vgg19"``.
        backbone_width: Filters of the backbone's first block; 64 in VGG. Its old name `trunk_width`
            still works.
        head_width: Filters of fc6 and fc7; 4096 in the paper.
        dropout: Rate after fc6 and fc7. None means the paper's 0.5, or 0.1 with `batch_norm`.
        upsampling: ``"frozen"`` bilinear interpolation, or ``"learned"`` starting from it. None
            means frozen, or learned with `batch_norm`.
        geometry: ``"same"`` pads every convolution to keep its size. ``"caffe"`` is the original's:
            100 zeros around the image, unpadded fc6 and transposed kernels, and crops.
        batch_norm: Batch normalisation and ReLU after fc6, fc7 and every transposed convolution,
            which then has a bias.

    Raises:
        InputError: an argument has a value outside those above, or the weights don't fit.
    """
    return _build("fcn8s", num_classes, weights, options)


def names(model: ModelName) -> list[str]:
    """The trained models of this kind that ship with the package."""
    ending = f"-{model}.safetensors"
    return sorted(path.name.removesuffix(ending) for path in FOLDER.glob(f"*{ending}"))


def find(name: str | None = None, model: ModelName = "fcn8s") -> Path:
    """The file of a trained model that ships with the package; None means the first.

    Raises:
        InputError: there is none of this name.
    """
    shipped = names(model)
    if not shipped:
        raise InputError(
            f"no trained {model} ships with this version of fcn-keras: name a .keras or "
            ".safetensors file"
        )
    name = shipped[0] if name is None else name
    if name not in shipped:
        raise InputError(f"the package has no trained {model} {name!r}: {', '.join(shipped)}")
    return FOLDER / f"{name}-{model}.safetensors"


def load_model(model: str | PathLike) -> keras.Model:
    """Reads a trained model: a file, or one that ships with the package.

    Args:
        model: The path of a ``.keras`` or compact ``.safetensors`` file, or the name of a trained
            FCN-8s of this package, such as ``"voc2012"``. A file of that name takes precedence.

    Raises:
        InputError: there is none, or as `fcn_keras.saving.load_model`.
    """
    named = str(model).isidentifier() and not Path(model).exists()
    return saving.load_model(find(str(model)) if named else model)


def _build(
    model: ModelName, num_classes: int | None, weights: Weights, options: dict[str, Any]
) -> keras.Model:
    if weights in names(model):
        return _trained(model, num_classes, find(weights, model), options)
    if isinstance(weights, str) and weights.isidentifier() and not Path(weights).exists():
        known = ", ".join(names(model)) or "none"
        raise InputError(
            f"weights={weights!r} is neither a file nor a trained {model} of this package ({known})"
        )
    build = getattr(models, model)
    built = build(21 if num_classes is None else num_classes, **options)
    if weights is not None:
        load_weights(built, weights)
    return built


def _trained(
    model: ModelName, num_classes: int | None, file: Path, options: dict[str, Any]
) -> keras.Model:
    """The trained model itself, or a new one with other options that starts from it."""
    trained = saving.load_compact(file)
    design = design_of(trained)
    given = dict(options)
    if num_classes is not None:
        given["num_classes"] = num_classes
    wanted = dataclasses.asdict(design) | given
    if wanted == dataclasses.asdict(design):
        return trained
    built = getattr(models, model)(**{k: v for k, v in wanted.items() if k != "model"})
    models.init_from(built, trained)
    return built
