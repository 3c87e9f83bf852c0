"""Test-time augmentation: the mean prediction over flips and scales of an image."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from keras import ops


def averaged(predict: Callable, *, flip: bool, scales: Sequence[float]) -> Callable:
    """A function like `predict` that averages its softmax over views of the images.

    Args:
        predict: Images ``(B, H, W, 3)`` to logits ``(B, H, W, C)``.
        flip: Adds the horizontal mirror image of every scale.
        scales: Factors of height and width; images and probabilities are resized bilinearly.

    Returns:
        A function from images to the logarithm of the mean probabilities ``(B, H, W, C)``,
        which argmax and cross-entropy read like logits.
    """
    views = [
        (scale, mirror) for scale in scales for mirror in ((False, True) if flip else (False,))
    ]

    def mean_prediction(images):
        images = ops.cast(images, "float32")
        total = sum(_view(predict, images, scale, mirror) for scale, mirror in views)
        return ops.log(ops.maximum(total / len(views), 1e-30))

    return mean_prediction


def _view(predict: Callable, images, scale: float, mirror: bool):
    size = ops.shape(images)[1:3]
    if scale != 1:
        images = _resize(images, [max(1, round(scale * side)) for side in size])
    if mirror:
        images = ops.flip(images, axis=2)
    probabilities = ops.softmax(predict(images), axis=-1)
    if mirror:
        probabilities = ops.flip(probabilities, axis=2)
    return probabilities if scale == 1 else _resize(probabilities, size)


def _resize(x, size):
    return ops.image.resize(x, size, interpolation="bilinear", data_format="channels_last")
