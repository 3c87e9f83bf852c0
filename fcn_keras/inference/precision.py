"""A trained model in another precision."""

from __future__ import annotations

from typing import Literal, get_args

import keras
from keras import ops

from fcn_keras.errors import InputError
from fcn_keras.models.layers import without_initial_values
from fcn_keras.saving.blueprint import draw, raise_up

Precision = Literal["float32", "bfloat16"]

_POLICIES = {"float32": "float32", "bfloat16": "mixed_bfloat16"}


def in_precision(model: keras.Model, precision: Precision) -> keras.Model:
    """The model if it computes in `precision`, or else a copy of it that does.

    The weights stay float32, and so do scores, upsampling and logits.

    Args:
        model: A model as `fcn8s`, `fcn16s` or `fcn32s` built it.
        precision: ``"bfloat16"`` is Keras' policy ``mixed_bfloat16``.

    Raises:
        InputError: `precision` is another, or the model is not such a one.
    """
    if precision not in get_args(Precision):
        raise InputError(f"precision={precision!r} is not one of {', '.join(get_args(Precision))}")
    blueprint = draw(model)
    if blueprint["policy"] == _POLICIES[precision]:
        return model
    with without_initial_values():
        copy = raise_up({**blueprint, "policy": _POLICIES[precision]})
    for ours, theirs in zip(copy.variables, model.variables, strict=True):
        ours.assign(ops.copy(theirs.value))  # training donates the buffers of the model it trains
    return copy
