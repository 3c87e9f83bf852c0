"""Random scale, pad, crop, flip and colour jitter of an image with its mask."""

import copy
import random
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

import numpy as np

from fcn_keras.data.classes import VOID
from fcn_keras.errors import InputError
from fcn_keras.imagenet import MEAN_PIXEL
from fcn_keras.imports import import_albumentations

Augment = Callable[[np.ndarray, np.ndarray, int], tuple[np.ndarray, np.ndarray]]
"""Maps an image, its mask and a seed to both as training sees them; depends on nothing else."""


@dataclass(frozen=True)
class Augmentation:
    """What training does to a sample, in this order.

    Changes brightness, contrast and saturation by up to the fraction `color_jitter` (0: not at
    all); with `scale_probability` resizes by a factor drawn from `scale` (image bilinear, mask
    nearest); pads to `crop_size` (image: channel mean, mask: void); crops a random square of
    `crop_size` pixels; mirrors left-right with `flip_probability`.

    Raises:
        InputError: an option is out of range.
    """

    crop_size: int = 480
    scale: tuple[float, float] = (0.5, 2.0)
    scale_probability: float = 0.5
    flip_probability: float = 0.5
    color_jitter: float = 0.0

    def __post_init__(self) -> None:
        if self.crop_size < 1:
            raise InputError(f"crop_size is {self.crop_size}; give at least 1 pixel")
        if not 0 < self.scale[0] <= self.scale[1]:
            raise InputError(f"scale is {self.scale}; give (low, high) with 0 < low <= high")
        for name in ("scale_probability", "flip_probability", "color_jitter"):
            if not 0 <= getattr(self, name) <= 1:
                raise InputError(f"{name} is {getattr(self, name)}; give a number from 0 to 1")

    def __call__(
        self, image: np.ndarray, mask: np.ndarray, seed: int
    ) -> tuple[np.ndarray, np.ndarray]:
        """Augments one sample; the result depends only on the arguments.

        Args:
            image: uint8 ``(H, W, 3)``.
            mask: uint8 ``(H, W)``.
            seed: Decides every random choice.

        Returns:
            The image, uint8 ``(crop_size, crop_size, 3)``, and the mask, uint8
            ``(crop_size, crop_size)``.
        """
        least = int(1 / self.scale[0]) + 1  # so that nothing is scaled down to no pixel
        if min(mask.shape) < least:
            image, mask = _padded(image, MEAN_PIXEL, least), _padded(mask, VOID, least)
        transform = _compose(self, threading.get_ident())
        # One stream for all steps: Compose's own seeding gives each step the same numbers, so
        # that images would be scaled exactly when they are flipped.
        transform.set_random_state(np.random.default_rng(seed), random.Random(seed))
        result = transform(image=image, mask=mask)
        return result["image"], result["mask"]


def _padded(array: np.ndarray, fill: int | tuple[int, ...], least: int) -> np.ndarray:
    """The array padded to at least this many rows and columns."""
    height, width = array.shape[:2]
    result = np.empty((max(height, least), max(width, least), *array.shape[2:]), array.dtype)
    result[...] = fill
    result[:height, :width] = array
    return result


@dataclass(frozen=True)
class OwnAugmentation:
    """The user's own augmentation in place of ours.

    Attributes:
        transform: Called as ``transform(image=..., mask=...)``, returns a dict of both. If it has
            `set_random_state` or `set_random_seed`, as `albumentations.Compose` and its successor
            have, it is seeded for each sample; otherwise batches aren't reproducible.
        crop_size: Height and width that it must return, in pixels.
    """

    transform: Callable[..., dict]
    crop_size: int
    _copies: dict[int, Any] = field(default_factory=dict, repr=False, compare=False)

    def __call__(
        self, image: np.ndarray, mask: np.ndarray, seed: int
    ) -> tuple[np.ndarray, np.ndarray]:
        """Augments one sample, like `Augmentation`.

        Raises:
            InputError: the result has another size or type.
        """
        thread = threading.get_ident()  # a transform holds random state that can't be shared
        if thread not in self._copies:
            self._copies[thread] = copy.deepcopy(self.transform)
        transform = self._copies[thread]
        if hasattr(transform, "set_random_state"):
            transform.set_random_state(np.random.default_rng(seed), random.Random(seed))
        elif hasattr(transform, "set_random_seed"):
            transform.set_random_seed(seed % 2**32)
        result = transform(image=image, mask=mask)
        image, mask = result["image"], result["mask"]
        wanted = (self.crop_size, self.crop_size)
        if (image.shape, mask.shape) != ((*wanted, 3), wanted) or image.dtype != np.uint8:
            raise InputError(
                f"augment gives an image {image.dtype} {image.shape} and a mask {mask.shape}, but "
                f"crop_size={self.crop_size} needs uint8 {(*wanted, 3)} and {wanted}: end it with "
                "a crop, and leave normalising to the model"
            )
        return image, mask.astype(np.uint8, copy=False)


@lru_cache(maxsize=64)
def _compose(options: Augmentation, thread: int) -> Any:
    """The `albumentations.Compose` of one thread: it holds random state that can't be shared."""
    import cv2

    A = import_albumentations()
    size, jitter = options.crop_size, options.color_jitter
    steps = [
        A.RandomScale(
            scale_limit=(options.scale[0] - 1, options.scale[1] - 1),
            interpolation=cv2.INTER_LINEAR,
            mask_interpolation=cv2.INTER_NEAREST,
            p=options.scale_probability,
        ),
        A.PadIfNeeded(size, size, fill=MEAN_PIXEL, fill_mask=VOID),
        A.RandomCrop(size, size),
        A.HorizontalFlip(p=options.flip_probability),
    ]
    if jitter:
        span = (1 - jitter, 1 + jitter)
        steps.insert(0, A.ColorJitter(span, span, span, hue=(0, 0), p=1.0))
    return A.Compose(steps)
