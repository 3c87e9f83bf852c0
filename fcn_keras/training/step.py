"""The training step: one pure function of state and batch, compiled once."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import keras
import numpy as np
import optax

from fcn_keras import cpu
from fcn_keras.cpu.runtime import on_cpu, tuned_jit
from fcn_keras.training.config import TrainConfig
from fcn_keras.training.loss import make_loss

Batch = dict[str, jax.Array]  # "image" (B, S, S, 3) uint8, "mask" (B, S, S) uint8


class State(NamedTuple):
    """Everything that a step changes.

    Attributes:
        params: Trainable variables by path, float32.
        other: The model's other variables by position: frozen kernels, batch statistics and the
            seeds of dropout.
        opt_state: State of the optimiser.
        ema: State of the weights' moving average; None if there is none.
    """

    params: dict[str, jax.Array]
    other: list[jax.Array]
    opt_state: optax.OptState
    ema: optax.EmaState | None = None


class Metrics(NamedTuple):
    """What a step reports; float32 scalars.

    Attributes:
        loss_sum: The loss summed over the labelled pixels, or that of a whole batch.
        pixels: Labelled pixels, or the sum of their class weights; 1 for a loss of whole batches.
        grad_norm: The norm of the gradient before clipping.
    """

    loss_sum: jax.Array
    pixels: jax.Array
    grad_norm: jax.Array


def init_state(
    model: keras.Model, optimizer: optax.GradientTransformation, config: TrainConfig | None = None
) -> State:
    """The state at step 0, as copies: the step may overwrite its buffers.

    `config` is needed only if it asks for a moving average of the weights.
    """
    params = {v.path: jnp.array(v.value) for v in model.trainable_variables}
    other = [jnp.array(v.value) for v in model.non_trainable_variables]
    decay = None if config is None else config.ema_decay
    ema = None if decay is None else optax.ema(decay).init(params)
    return State(params, other, optimizer.init(params), ema)


def release(model: keras.Model) -> None:
    """Drops the model's copy of the weights, as `keras.Model.fit` does while it trains.

    The training state holds them; a second copy would cost as much memory again. `write_back`
    restores it.
    """
    for variable in model.variables:
        variable._value = None


def averaged(state: State, config: TrainConfig) -> State:
    """The state with the moving average in place of the weights, if there is one.

    The average starts from nothing and is divided by the sum of its weights, as in Adam.
    """
    if state.ema is None or config.ema_decay is None or not int(state.ema.count):
        return state
    gathered = 1 - config.ema_decay ** int(state.ema.count)
    return state._replace(params={name: x / gathered for name, x in state.ema.ema.items()})


def write_back(state: State, model: keras.Model) -> None:
    """Copies the state into the model's variables, for evaluation and saving."""
    for variable in model.trainable_variables:
        variable.assign(np.asarray(state.params[variable.path]))
    for variable, value in zip(model.non_trainable_variables, state.other, strict=True):
        variable.assign(np.asarray(value))


def make_step(
    model: keras.Model,
    optimizer: optax.GradientTransformation,
    config: TrainConfig,
    class_weights: Sequence[float] | None = None,
) -> Any:
    """Returns ``step(state, batch) -> (state, metrics)``, jitted, with the state donated.

    The gradient of the *summed* loss is divided by the number of labelled pixels at the very end
    (except with ``loss="sum"``), so that splitting a batch over devices or into `accumulate` parts
    changes nothing but rounding.

    Args:
        model: The network.
        optimizer: The update of a gradient.
        config: The settings.
        class_weights: The values of "balanced"; None takes those of `config`.
    """
    if class_weights is None and not isinstance(config.class_weights, str):
        class_weights = config.class_weights
    loss = make_loss(config, class_weights)
    names = [variable.path for variable in model.trainable_variables]

    def loss_sum(params, other, images, mask):
        trainable = [params[name] for name in names]
        logits, other = model.stateless_call(trainable, other, images, training=True)
        total, pixels = loss(logits, mask)
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
        params, other, opt_state, ema = state
        if config.accumulate == 1:
            (total, (pixels, other)), grads = gradient(params, other, batch["image"], batch["mask"])
        else:
            total, pixels, grads, other = accumulate(params, other, batch)
        scale = 1.0 if config.loss == "sum" else 1 / jnp.maximum(pixels, 1)
        norm = scale * global_norm(grads)
        # Without a limit the second factor is 1, but it makes the update wait for the whole
        # gradient: then nothing reads the weights any more, and they are overwritten in place.
        scale = scale * jnp.minimum(1, (config.clip_norm or math.inf) / norm)
        grads = jax.tree.map(lambda g: scale * g, grads)
        updates, opt_state = optimizer.update(grads, opt_state, params)
        params = optax.apply_updates(params, updates)
        if ema is not None:
            _, ema = optax.ema(config.ema_decay).update(params, ema)
        return State(params, other, opt_state, ema), Metrics(total, pixels, norm)

    return tuned_jit(step, cpu.calls_onednn(model), donate_argnums=0)


def global_norm(tree: dict[str, jax.Array]) -> jax.Array:
    """The Euclidean norm of all numbers in `tree`, scalar.

    On a CPU it adds block by block, since XLA would write out all squares first: 400 MB for fc6's
    kernel.
    """
    if not on_cpu():
        return optax.tree.norm(tree)

    def square(x):
        if x.ndim < 2:
            return jnp.vdot(x, x)
        rows = x.size // x.shape[-1]
        blocks = x.reshape(-1, math.gcd(rows, 128) * x.shape[-1])
        none = jnp.zeros_like(blocks[0])
        return jnp.sum(jax.lax.scan(lambda sums, block: (sums + block**2, None), none, blocks)[0])

    return jnp.sqrt(sum(map(square, jax.tree.leaves(tree))))
