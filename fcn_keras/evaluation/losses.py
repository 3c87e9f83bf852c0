"""Cross-entropy pixel by pixel, for training and evaluation alike."""

from __future__ import annotations

from typing import Any

from keras import ops

from fcn_keras.data.classes import VOID


def pixel_losses(logits: Any, mask: Any) -> tuple:
    """Softmax cross-entropy of each pixel, in nats, and which pixels have a label.

    Args:
        logits: ``(B, H, W, C)`` float32.
        mask: ``(B, H, W)`` uint8; 255 marks void pixels.

    Returns:
        The losses, float32 ``(B, H, W)``; the labels, int32, 0 at void pixels, whose loss is that
        of class 0; and whether each pixel has a label, bool.
    """
    labelled = ops.not_equal(mask, VOID)
    labels = ops.cast(ops.where(labelled, mask, 0), "int32")
    own = ops.take_along_axis(logits, labels[..., None], axis=-1)[..., 0]
    return ops.logsumexp(logits, axis=-1) - own, labels, labelled
