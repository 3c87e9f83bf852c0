"""Starts a model from a trained one that has fewer skips or another number of classes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import keras
from keras import layers, ops

from fcn_keras.errors import InputError
from fcn_keras.models.anatomy import Design, design_of, part

Layers = Mapping[str, layers.Layer]


class Transfer(NamedTuple):
    """What `init_from` did to the layers that have weights, by name."""

    copied: tuple[str, ...]
    new: tuple[str, ...]


def init_from(model: keras.Model, source: keras.Model) -> Transfer:
    """Copies the weights of `source` into the layers of `model` that have the same name.

    This is the paper's staged training (section 4.3): a 16s starts from a trained 32s, an 8s from a
    16s, and the score of the added skip stays as built, zero. Where the numbers of classes differ,
    scores and upsamplers stay as built and everything else is copied. Frozen upsamplers stay
    bilinear. The normalisation of the pixels is copied too, since the backbone's weights expect it.

    Nothing changes unless everything fits.

    Args:
        model: A model as `fcn8s`, `fcn16s` or `fcn32s` built it.
        source: A trained one of them, such as ``keras.models.load_model`` returns.

    Returns:
        The names of the layers copied, and of those left as they were.

    Raises:
        InputError: one is not such a model, or they differ in `geometry`, `batch_norm`, `at_once`,
            `backbone`, `backbone_width` or `head_width`.
    """
    _check_designs(design_of(model), design_of(source))
    ours, theirs = ({layer.name: layer for layer in each.layers} for each in (model, source))
    weighted = [name for name, layer in ours.items() if layer.weights]
    copied = tuple(name for name in weighted if _fits(name, ours, theirs))
    for name in copied:
        for variable, value in zip(ours[name].weights, theirs[name].weights, strict=True):
            # A copy, since training donates the buffers of the model it trains.
            variable.assign(ops.copy(value.value))
    normalize, trained = ours["normalize"], theirs["normalize"]
    normalize.scale, normalize.offset = trained.scale, trained.offset
    # These hold compiled programs in which the old values are constants.
    model.train_function = model.test_function = model.predict_function = None
    return Transfer(copied, tuple(name for name in weighted if name not in copied))


def _check_designs(ours: Design, theirs: Design) -> None:
    """Equal shapes don't mean equal features: some options change what the weights expect."""
    options = ["backbone", "backbone_width", "head_width", "geometry", "batch_norm"]
    if ours.skips and theirs.skips:
        options.append("at_once")
    for option in options:
        here, there = getattr(ours, option), getattr(theirs, option)
        if here != there:
            raise InputError(
                f"the source model has {option}={there!r}, the new one {option}={here!r}; "
                f"build both with the same {option}"
            )


def _fits(name: str, ours: Layers, theirs: Layers) -> bool:
    """Whether a layer is to be copied: scores and upsamplers may have other classes."""
    if name not in theirs:
        return False
    if part(name) == "upsampling" and not ours[name].trainable:
        return False
    here, there = ([v.shape for v in found[name].weights] for found in (ours, theirs))
    return here == there
