"""The loss: softmax cross-entropy over the labelled pixels."""

from __future__ import annotations

from collections.abc import Sequence

import jax
import jax.numpy as jnp

from fcn_keras.evaluation.losses import pixel_losses


def cross_entropy(
    logits: jax.Array, mask: jax.Array, class_weights: Sequence[float] | None = None
) -> tuple[jax.Array, jax.Array]:
    """Sums softmax cross-entropy over the pixels that have a label.

    The sum and the count are returned apart, so that a mean over several images, parts of a batch
    or devices weighs every pixel alike.

    Args:
        logits: ``(B, H, W, C)`` float32.
        mask: ``(B, H, W)`` uint8; 255 marks void pixels, which count for nothing.
        class_weights: A pixel of class c counts as ``class_weights[c]`` pixels; None for 1.

    Returns:
        The sum over labelled pixels, in nats, and their number; both float32 scalars.
    """
    losses, labels, valid = pixel_losses(logits, mask)
    if class_weights is None:
        return jnp.sum(losses, where=valid), jnp.sum(valid, dtype=jnp.float32)
    weights = jnp.take(jnp.asarray(class_weights, jnp.float32), labels)
    return jnp.sum(weights * losses, where=valid), jnp.sum(weights, where=valid)
