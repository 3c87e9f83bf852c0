"""A trained model in another precision."""

from __future__ import annotations

from typing import get_args

import keras
from keras import ops

from fcn_keras.errors import InputError
from fcn_keras.imports import without_tensorflow
from fcn_keras.models.layers import without_initial_values
from fcn_keras.models.names import Precision
from fcn_keras.saving.blueprint import draw, raise_empty


@without_tensorflow()
def in_precision(model: keras.Model, precision: Precision) -> keras.Model:
    """The model if it computes in `precision`, or else a copy of it that does.

    In bfloat16 the kernels of the backbone, fc6 and fc7 are kept rounded, in half the memory.
    Biases, scores, upsampling and logits are float32 in both.

    Args:
        model: For bfloat16 a model as `fcn8s`, `fcn16s` or `fcn32s` built it, since Keras' policy
            ``bfloat16`` is that of the backbone, fc6 and fc7 only; for float32 any functional
            model.
        precision: ``"float32"`` or ``"bfloat16"``.

    Raises:
        InputError: `precision` is neither, or the model is not such a model.
    """
    if precision not in get_args(Precision):
        raise InputError(f"precision={precision!r} is not one of {', '.join(get_args(Precision))}")
    if precision == "float32":
        if all(layer.compute_dtype == "float32" for layer in model.layers):
            return model
        with without_initial_values():
            copy = keras.models.clone_model(model, clone_function=_in_float32)
    else:
        blueprint = draw(model)
        if blueprint["policy"] == "bfloat16":
            return model
        copy = raise_empty({**blueprint, "policy": "bfloat16"})
    for ours, theirs in zip(copy.variables, model.variables, strict=True):
        # What isn't cast is copied, since training donates the buffers of the model it trains.
        ours.assign(ops.copy(theirs.value) if ours.dtype == theirs.dtype else theirs)
    return copy


def _in_float32(layer: keras.Layer) -> keras.Layer:
    return type(layer).from_config({**layer.get_config(), "dtype": "float32"})
