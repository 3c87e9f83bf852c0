"""Test-time augmentation: the mean prediction over flips and scales of an image."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from keras import ops

from fcn_keras.inference.padding import OUTSIDE


def averaged(predict: Callable, *, flip: bool, scales: Sequence[float]) -> Callable:
    """A function like `predict` that averages its softmax over views of the images.

    Args:
        predict: Images ``(B, H, W, 3)`` to logits ``(B, H, W, C)``.
        flip: Adds the horizontal mirror image of every scale.
        scales: Factors of height and width; images and probabilities are resized bilinearly.
            Pixels of `padding.OUTSIDE` at the bottom and right are padding, and remain padding in
            every view.

    Returns:
        A function from images to the logarithm of the mean probabilities ``(B, H, W, C)``,
        which argmax and cross-entropy read like logits.
    """
    views = [
        (scale, mirror) for scale in scales for mirror in ((False, True) if flip else (False,))
    ]

    def mean_prediction(images: Any) -> Any:
        images = ops.cast(images, "float32")
        total = sum(_view(predict, images, scale, mirror) for scale, mirror in views)
        return ops.log(ops.maximum(total / len(views), 1e-30))

    return mean_prediction


def _view(predict: Callable, images: Any, scale: float, mirror: bool) -> Any:
    inside = ops.cast(images[..., 0] > OUTSIDE, "float32")
    sizes = [ops.sum(inside[:, :, 0], axis=1), ops.sum(inside[:, 0, :], axis=1)]
    scaled = [ops.maximum(1.0, ops.round(scale * size)) for size in sizes]
    shape = [max(1, round(scale * side)) for side in ops.shape(images)[1:3]]
    view = _resample(images, sizes, scaled, shape, mirror)
    rows, columns = (
        ops.arange(side, dtype="float32") < size[:, None]
        for side, size in zip(shape, scaled, strict=True)
    )
    kept = ops.logical_and(rows[:, :, None], columns[:, None, :])[..., None]
    probabilities = ops.softmax(predict(ops.where(kept, view, OUTSIDE)), axis=-1)
    return _resample(probabilities, scaled, sizes, ops.shape(images)[1:3], mirror)


def _resample(x: Any, sizes: list, new_sizes: list, shape: Any, mirror: bool) -> Any:
    """Resizes the top left ``sizes`` of ``(B, H, W, C)`` to ``new_sizes``, mirrored if asked.

    Bilinear, with pixel centres as in `ops.image.resize`, but with a size of its own for each
    image. The result has height and width `shape`, and is 0 beyond the new sizes.
    """
    rows = _weights(sizes[0], new_sizes[0], ops.shape(x)[1], shape[0], mirror=False)
    columns = _weights(sizes[1], new_sizes[1], ops.shape(x)[2], shape[1], mirror)
    x = ops.einsum("bih,bhwc->biwc", rows, x)
    return ops.einsum("bjw,biwc->bijc", columns, x)


def _weights(size: Any, new_size: Any, length: int, new_length: int, mirror: bool) -> Any:
    """The share ``(B, new_length, length)`` of each pixel of a line in each new pixel."""
    size, new_size = size[:, None], new_size[:, None]
    index = ops.arange(new_length, dtype="float32")[None]
    source = new_size - 1 - index if mirror else index
    source = ops.clip((source + 0.5) * size / new_size - 0.5, 0.0, size - 1)
    distance = ops.abs(source[..., None] - ops.arange(length, dtype="float32"))
    return ops.where((index < new_size)[..., None], ops.maximum(1.0 - distance, 0.0), 0.0)
