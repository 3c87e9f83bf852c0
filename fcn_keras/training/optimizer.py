"""The update rules, as optax chains over parameters named ``layer/variable``."""

from __future__ import annotations

import jax
import optax

from fcn_keras.models.anatomy import part
from fcn_keras.training.config import TrainConfig

POLY_POWER = 0.9  # DeepLab's "poly" policy


def make_schedule(config: TrainConfig, total_steps: int) -> optax.Schedule:
    """Learning rate of the kernels at each step, counted from 0."""
    rate, warmup = config.learning_rate, config.warmup_steps
    if config.schedule == "constant":
        schedule = optax.constant_schedule(rate)
    else:
        steps = max(total_steps - warmup, 1)
        schedule = optax.polynomial_schedule(rate, 0.0, POLY_POWER, steps)
    if warmup:
        rise = optax.linear_schedule(rate / warmup, rate, max(warmup - 1, 1))
        schedule = optax.join_schedules([rise, schedule], [warmup])
    return schedule


def make_optimizer(config: TrainConfig, total_steps: int) -> optax.GradientTransformation:
    """The update of a gradient: decay, momentum or Adam, rates.

    Weight decay acts on kernels only, biases move at ``bias_rate`` times the rate (Caffe's
    ``lr_mult: 2, decay_mult: 0``) and the backbone at ``backbone_rate`` times it. With SGD the
    decay is part of the gradient that momentum accumulates, as in Caffe and PyTorch; with AdamW it
    is not. Frozen variables are not among the parameters at all.
    """
    decay = optax.add_decayed_weights(config.weight_decay, mask=_kernels)
    if config.optimizer == "sgd":
        rule = [decay, optax.trace(config.momentum)]
    else:
        rule = [optax.scale_by_adam(b1=config.momentum), decay]
    return optax.chain(
        *rule,
        optax.stateless(lambda updates, _: _scale_by_name(updates, config)),
        optax.scale_by_learning_rate(make_schedule(config, total_steps)),
    )


def _kernels(params: dict[str, jax.Array]) -> dict[str, bool]:
    return {name: name.endswith("/kernel") for name in params}


def _scale_by_name(updates: dict[str, jax.Array], config: TrainConfig) -> dict[str, jax.Array]:
    def factor(name: str) -> float:
        bias = config.bias_rate if name.endswith("/bias") else 1.0
        backbone = part(name.split("/")[0]) == "backbone"
        return bias * (config.backbone_rate if backbone else 1.0)

    return {name: factor(name) * update for name, update in updates.items()}
