"""The losses, over labelled pixels only."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

import jax
import jax.numpy as jnp

from fcn_keras.evaluation.losses import pixel_losses
from fcn_keras.training.config import TrainConfig

Loss = Callable[[jax.Array, jax.Array], tuple[jax.Array, jax.Array]]
"""Maps logits and mask to a sum and its divisor, both float32 scalars."""

FOCUS = 2.0  # Lin et al.'s gamma
_TINY = 1e-7


def cross_entropy(
    logits: jax.Array, mask: jax.Array, class_weights: Sequence[float] | None = None
) -> tuple[jax.Array, jax.Array]:
    """Sums softmax cross-entropy over the pixels that have a label.

    The sum and the count are returned separately, so that a mean over several images, parts of a
    batch or devices weights every pixel equally.

    >>> total, pixels = cross_entropy(jnp.zeros((1, 1, 3, 4)), jnp.array([[[0, 3, 255]]]))
    >>> float(pixels), f"{total / pixels:.4f}"  # two of three have a label; ln(4)
    (2.0, '1.3863')

    Args:
        logits: ``(B, H, W, C)`` float32.
        mask: ``(B, H, W)`` uint8; 255 marks void pixels, which don't count.
        class_weights: A pixel of class c counts as ``class_weights[c]`` pixels; None for 1.

    Returns:
        The sum over labelled pixels, in nats, and their number; both float32 scalars.
    """
    losses, labels, valid = pixel_losses(logits, mask)
    return _weighted_sum(losses, labels, valid, class_weights)


def focal(
    logits: jax.Array, mask: jax.Array, class_weights: Sequence[float] | None = None
) -> tuple[jax.Array, jax.Array]:
    """Sums the focal loss ``-(1 - p) ** 2 * log(p)``, where p is the softmax of the pixel's class.

    Pixels that are already correct count little (Lin et al., ICCV 2017, carried over from sigmoid
    to softmax). Arguments and returns are those of `cross_entropy`.
    """
    losses, labels, valid = pixel_losses(logits, mask)
    losses = jnp.where(valid, losses, 0)
    wrong = -jnp.expm1(-losses)  # 1 - p
    return _weighted_sum(wrong**FOCUS * losses, labels, valid, class_weights)


def dice(logits: jax.Array, mask: jax.Array) -> jax.Array:
    """Dice loss of a whole batch, scalar float32: one minus the mean Dice coefficient of classes.

    The coefficient of a class is ``2 * sum(p * t) / (sum(p) + sum(t))`` over the labelled pixels of
    all images, with the softmax p and the truth t of 0 and 1 (Milletari et al., 3DV 2016). Classes
    without a true pixel have loss 0 but count in the average, as in
    segmentation_models.pytorch.

    Args:
        logits: ``(B, H, W, C)`` float32.
        mask: ``(B, H, W)`` uint8; 255 is void.
    """
    probabilities, truth = _probabilities_and_truth(logits, mask)
    both, true = (probabilities * truth).sum((0, 1, 2)), truth.sum((0, 1, 2))
    coefficients = 2 * both / jnp.maximum(probabilities.sum((0, 1, 2)) + true, _TINY)
    return jnp.mean(jnp.where(true > 0, 1 - coefficients, 0))


def lovasz_softmax(logits: jax.Array, mask: jax.Array) -> jax.Array:
    """Lovász-softmax loss of a whole batch, scalar float32: a convex surrogate of ``1 - IoU``.

    Berman, Triki, Blaschko (CVPR 2018), averaged over the classes that have true pixels, over the
    labelled pixels of all images together.

    Args:
        logits: ``(B, H, W, C)`` float32.
        mask: ``(B, H, W)`` uint8; 255 is void.
    """
    probabilities, truth = _probabilities_and_truth(logits, mask)
    classes = logits.shape[-1]
    valid = (mask != 255).ravel()

    def of_class(columns: tuple[jax.Array, jax.Array]) -> jax.Array:
        probability, true = columns
        errors = jnp.where(valid, jnp.abs(true - probability), 0)
        # Void pixels come last, where they don't change the weights of others.
        order = jnp.argsort(jax.lax.stop_gradient(jnp.where(valid, -errors, 1)))
        return jnp.vdot(errors[order], _jaccard_steps(true[order]))

    columns = (probabilities.reshape(-1, classes).T, truth.reshape(-1, classes).T)
    losses = jax.lax.map(of_class, columns)  # one by one, since sorting all takes much memory
    present = truth.any((0, 1, 2))
    return jnp.sum(losses, where=present) / jnp.maximum(present.sum(), 1)


def _jaccard_steps(true: jax.Array) -> jax.Array:
    """By how much ``1 - IoU`` grows as each further pixel is counted as wrong.

    Args:
        true: ``(N,)`` of 0 and 1, whether the pixel is of the class.
    """
    total, taken = true.sum(), jnp.cumsum(true)
    jaccard = 1 - (total - taken) / jnp.maximum(total + jnp.cumsum(1 - true), 1)
    return jnp.diff(jaccard, prepend=0)


def _probabilities_and_truth(logits: jax.Array, mask: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Softmax and one-hot truth, ``(B, H, W, C)``, both 0 at void pixels."""
    valid = (mask != 255)[..., None]
    probabilities = jnp.where(valid, jax.nn.softmax(jnp.where(valid, logits, 0)), 0)
    return probabilities, jax.nn.one_hot(mask, logits.shape[-1])  # all 0 for 255


def _weighted_sum(
    losses: jax.Array,
    labels: jax.Array,
    valid: jax.Array,
    class_weights: Sequence[float] | None,
) -> tuple[jax.Array, jax.Array]:
    if class_weights is None:
        return jnp.sum(losses, where=valid), jnp.sum(valid, dtype=jnp.float32)
    weights = jnp.take(jnp.asarray(class_weights, jnp.float32), labels)
    return jnp.sum(weights * losses, where=valid), jnp.sum(weights, where=valid)


def make_loss(config: TrainConfig, class_weights: Sequence[float] | None = None) -> Loss:
    """The loss that `config` names, with these weights.

    Losses of a whole batch are their own sum, to be divided by 1.
    """
    of_pixels = partial(cross_entropy, class_weights=class_weights)

    def of_batch(logits: jax.Array, mask: jax.Array) -> tuple[jax.Array, jax.Array]:
        if config.loss == "lovasz":
            return lovasz_softmax(logits, mask), jnp.ones(())
        total = dice(logits, mask)
        if config.loss == "ce_dice":
            losses, pixels = of_pixels(logits, mask)
            total += losses / jnp.maximum(pixels, 1)
        return total, jnp.ones(())

    if config.loss in ("mean", "sum"):
        return of_pixels
    return partial(focal, class_weights=class_weights) if config.loss == "focal" else of_batch
