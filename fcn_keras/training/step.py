"""The training step: one pure function of state and batch, compiled once."""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp
import keras
import numpy as np
import optax

from fcn_keras.jit import jit
from fcn_keras.training.config import TrainConfig
from fcn_keras.training.loss import cross_entropy

Batch = dict[str, jax.Array]  # "image" (B, S, S, 3) uint8, "mask" (B, S, S) uint8


class State(NamedTuple):
    """Everything that a step changes.

    Attributes:
        params: Trainable variables by path, float32.
        other: The model's other variables by position: frozen kernels, batch statistics and the
            seeds of dropout.
        opt_state: State of the optimiser.
    """

    params: dict[str, jax.Array]
    other: list[jax.Array]
    opt_state: optax.OptState


class Metrics(NamedTuple):
    """What a step reports; float32 scalars."""

    loss_sum: jax.Array  # nats, over the labelled pixels
    pixels: jax.Array  # labelled pixels
    grad_norm: jax.Array


def init_state(model: keras.Model, optimizer: optax.GradientTransformation) -> State:
    """The state at step 0, as copies: the step may overwrite its buffers."""
    params = {v.path: jnp.array(v.value) for v in model.trainable_variables}
    other = [jnp.array(v.value) for v in model.non_trainable_variables]
    return State(params, other, optimizer.init(params))


def write_back(state: State, model: keras.Model) -> None:
    """Copies the state into the model's variables, for evaluation and saving."""
    for variable in model.trainable_variables:
        variable.assign(np.asarray(state.params[variable.path]))
    for variable, value in zip(model.non_trainable_variables, state.other, strict=True):
        variable.assign(np.asarray(value))


def make_step(model: keras.Model, optimizer: optax.GradientTransformation, config: TrainConfig):
    """Returns ``step(state, batch) -> (state, metrics)``, jitted, with the state donated.

    The gradient of the *summed* loss is divided by the number of labelled pixels at the very end
    (``loss="mean"``), so that splitting a batch over devices or into `accumulate` parts changes
    nothing but rounding.
    """

    names = [variable.path for variable in model.trainable_variables]

    def loss_sum(params, other, images, mask):
        trainable = [params[name] for name in names]
        logits, other = model.stateless_call(trainable, other, images, training=True)
        total, pixels = cross_entropy(logits, mask)
        return total, (pixels, other)

    gradient = jax.value_and_grad(loss_sum, has_aux=True)

    def accumulate(params, other, batch):
        parts = jax.tree.map(
            lambda x: x.reshape(config.accumulate, -1, *x.shape[1:]),
            (batch["image"], batch["mask"]),
        )

        def body(carry, part):
            other, sums = carry
            (total, (pixels, other)), grads = gradient(params, other, *part)
            return (other, jax.tree.map(jnp.add, sums, (total, pixels, grads))), None

        zeros = (jnp.zeros(()), jnp.zeros(()), jax.tree.map(jnp.zeros_like, params))
        (other, sums), _ = jax.lax.scan(body, (other, zeros), parts)
        return *sums, other

    def step(state: State, batch: Batch) -> tuple[State, Metrics]:
        params, other, opt_state = state
        if config.accumulate == 1:
            (total, (pixels, other)), grads = gradient(params, other, batch["image"], batch["mask"])
        else:
            total, pixels, grads, other = accumulate(params, other, batch)
        if config.loss == "mean":
            grads = jax.tree.map(lambda g: g / jnp.maximum(pixels, 1), grads)
        norm = optax.tree.norm(grads)
        updates, opt_state = optimizer.update(grads, opt_state, params)
        return State(optax.apply_updates(params, updates), other, opt_state), Metrics(
            total, pixels, norm
        )

    return jit(step, donate_argnums=0)
