"""A model's forward pass, compiled once for each shape of images."""

from __future__ import annotations

from collections.abc import Callable

import keras


def bind(model: keras.Model, function: Callable) -> Callable:
    """``f(images, *rest) = function(predict, images, *rest)``, ``predict`` being `model`.

    Under JAX ``f`` is compiled once for each input shape. It reads the model's weights at each
    call, so that training between two calls neither recompiles it nor goes unnoticed. On other
    backends it runs as it is, without gradients. ``function`` is written in `keras.ops`.
    """
    if keras.backend.backend() != "jax":
        return _without_gradients(lambda *args: function(_eager(model), *args))
    from fcn_keras.cpu.runtime import tuned_jit

    @tuned_jit
    def step(trainable, non_trainable, images, *rest):
        def predict(images):
            return model.stateless_call(trainable, non_trainable, images, training=False)[0]

        return function(predict, images, *rest)

    def call(images, *rest):
        trainable = [variable.value for variable in model.trainable_variables]
        non_trainable = [variable.value for variable in model.non_trainable_variables]
        return step(trainable, non_trainable, images, *rest)

    call.compiles = step._cache_size
    return call


def _eager(model: keras.Model) -> Callable:
    return lambda images: model(images, training=False)


def _without_gradients(function: Callable) -> Callable:
    if keras.backend.backend() != "torch":
        return function
    import torch

    return torch.no_grad()(function)
