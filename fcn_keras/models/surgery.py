"""Starts a model from a trained one that has fewer skips or another number of classes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import keras
from keras import layers, ops

from fcn_keras.errors import InputError

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
    bilinear. The normalisation of the pixels is copied too, since the trunk's weights expect it.

    Nothing changes unless everything fits.

    Args:
        model: A model as `fcn8s`, `fcn16s` or `fcn32s` built it.
        source: A trained one of them, such as ``keras.models.load_model`` returns.

    Returns:
        The names of the layers copied, and of those left as they were.

    Raises:
        InputError: one is not such a model, or they differ in `geometry`, `batch_norm`, `at_once`,
            `trunk_width` or `head_width`.
    """
    ours, theirs = _layers(model), _layers(source)
    _check_options(ours, theirs)
    weighted = [name for name, layer in ours.items() if layer.weights]
    copied = tuple(name for name in weighted if _fits(name, ours, theirs))
    for name in copied:
        for variable, value in zip(ours[name].weights, theirs[name].weights, strict=True):
            # A copy, since training donates the buffers of the model it trains.
            variable.assign(ops.copy(value.value))
    normalize, trained = ours["normalize"], theirs["normalize"]
    normalize.scale, normalize.offset = trained.scale, trained.offset
    # These hold compiled programs in which the old numbers are constants.
    model.train_function = model.test_function = model.predict_function = None
    return Transfer(copied, tuple(name for name in weighted if name not in copied))


def _layers(model: keras.Model) -> Layers:
    found = {layer.name: layer for layer in model.layers}
    if not found.keys() >= {"normalize", "block1_conv1", "fc6", "fc7", "score_fr"}:
        raise InputError(
            f"model {model.name!r} lacks layers such as normalize, fc6 or score_fr; "
            "init_from takes models of fcn8s, fcn16s and fcn32s"
        )
    return found


def _check_options(ours: Layers, theirs: Layers) -> None:
    """Equal shapes don't mean equal features: these options change what the weights expect."""
    options = {"geometry": _geometry, "batch_norm": lambda found: "fc6_bn" in found}
    if "score_pool4" in ours and "score_pool4" in theirs:
        options["at_once"] = lambda found: "scale_pool4" in found
    for option, read in options.items():
        here, there = read(ours), read(theirs)
        if here != there:
            raise InputError(
                f"the source model has {option}={there!r}, the new one {option}={here!r}; "
                f"build both with the same {option}"
            )


def _geometry(found: Layers) -> str:
    return "caffe" if "pad" in found else "same"


def _fits(name: str, ours: Layers, theirs: Layers) -> bool:
    """Whether a layer is to be copied.

    Raises:
        InputError: it would have to be, but the shapes differ.
    """
    if name not in theirs:
        return False
    if isinstance(ours[name], layers.Conv2DTranspose) and not ours[name].trainable:
        return False
    here, there = ([v.shape for v in found[name].weights] for found in (ours, theirs))
    if here == there:
        return True
    if name.startswith(("score", "upscore")):
        return False
    option, first = (
        ("head_width", "fc6") if name.startswith("fc") else ("trunk_width", "block1_conv1")
    )
    raise InputError(
        f"layer {name} has shape {there[0]} in the source model and {here[0]} in the new one; "
        f"build it with {option}={theirs[first].filters}"
    )
