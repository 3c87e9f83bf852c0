"""A file of weights, once recognised: a `Rule` for each variable says which tensor goes where."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from fcn_keras.imagenet import MEAN, STD
from fcn_keras.models.names import Backbone
from fcn_keras.models.vgg import BACKBONES

Layout = Callable[[np.ndarray], np.ndarray]

VGG16 = BACKBONES["vgg16"].names
# The variables of a batch normalisation, as torch and Keras call them.
BATCH_NORM = {
    "weight": "gamma",
    "bias": "beta",
    "running_mean": "moving_mean",
    "running_var": "moving_variance",
}
COUNTER = "num_batches_tracked"


@dataclass(frozen=True)
class Rule:
    """Tensor `source`, rearranged by `layout`, is the variable ``layer/variable``."""

    source: str
    layer: str
    variable: str
    layout: Layout


@dataclass(frozen=True)
class Normalization:
    """What the backbone expects of RGB pixels in 0..255: ``pixels * scale + offset``.

    Both hold one number per channel.
    """

    scale: tuple[float, ...]
    offset: tuple[float, ...]


IMAGENET = Normalization(
    scale=tuple(1 / (255 * std) for std in STD),
    offset=tuple(-mean / std for mean, std in zip(MEAN, STD, strict=True)),
)


def minus(red: float, green: float, blue: float) -> Normalization:
    """Caffe's normalisation: the mean is subtracted and nothing is scaled."""
    return Normalization((1.0, 1.0, 1.0), (-red, -green, -blue))


@dataclass(frozen=True)
class WeightsFile:
    """A recognised file.

    Attributes:
        title: What the file is, for people.
        rules: In the model's order. Sources that the file lacks are left as initialised.
        normalization: What the weights were trained with; None keeps the model's.
        pretrained: Whether it is a classifier, whose fc6 and fc7 are used only if their width is
            the model's `head_width`. A trained FCN must fit throughout.
        backbone: The `backbone` that the model must have been built with.
        batch_norm: Whether the model must have been built with `batch_norm`; None if either will
            do.
        caffe: Whether it was trained with ``geometry="caffe"``.
        unused: Names that are known and not used, with the reason.
    """

    title: str
    rules: tuple[Rule, ...]
    normalization: Normalization | None
    pretrained: bool
    backbone: Backbone = "vgg16"
    batch_norm: bool | None = None
    caffe: bool = False
    unused: dict[str, str] = field(default_factory=dict)


def vector(array: np.ndarray) -> np.ndarray:
    """A bias, or other values with one per channel, as it is."""
    return _with_dimensions(array, 1)


def kernel(array: np.ndarray) -> np.ndarray:
    """A kernel in Keras' order, ``(h, w, in, out)``, as it is."""
    return _with_dimensions(array, 4)


def _with_dimensions(array: np.ndarray, count: int) -> np.ndarray:
    if array.ndim != count:
        raise ValueError(f"{array.ndim} dimensions in place of {count}")
    return array


def torch_kernel(array: np.ndarray) -> np.ndarray:
    """``(out, in, h, w)`` to ``(h, w, in, out)``.

    Also right for transposed convolutions, ``(in, out, h, w)`` to ``(h, w, out, in)``: both
    libraries add ``x[i] * kernel[k]`` to output ``stride * i + k``.
    """
    return array.transpose(2, 3, 1, 0)


def torch_bgr_kernel(array: np.ndarray) -> np.ndarray:
    """A first convolution of blue, green, red, for an input of red, green, blue."""
    return torch_kernel(array)[:, :, ::-1]


def bgr_kernel(array: np.ndarray) -> np.ndarray:
    """The same for a kernel in Keras' order."""
    return kernel(array)[:, :, ::-1]


def torch_linear_7x7(array: np.ndarray) -> np.ndarray:
    """``(out, in * 7 * 7)`` on a flattened ``(in, 7, 7)`` to a kernel ``(7, 7, in, out)``."""
    return torch_kernel(array.reshape(array.shape[0], -1, 7, 7))


def linear_7x7(array: np.ndarray) -> np.ndarray:
    """``(7 * 7 * in, out)`` on a flattened ``(7, 7, in)`` to a kernel ``(7, 7, in, out)``."""
    return array.reshape(7, 7, -1, array.shape[1])


def torch_linear(array: np.ndarray) -> np.ndarray:
    """``(out, in)`` to a kernel ``(1, 1, in, out)``."""
    return array.T.reshape(1, 1, array.shape[1], array.shape[0])


def linear(array: np.ndarray) -> np.ndarray:
    """``(in, out)`` to a kernel ``(1, 1, in, out)``."""
    return array.reshape(1, 1, *array.shape)


def torch_rules(source: str, layer: str, layout: Layout = torch_kernel) -> tuple[Rule, Rule]:
    """``source.weight`` and ``source.bias`` of a torch module, as kernel and bias of `layer`."""
    return (
        Rule(f"{source}.weight", layer, "kernel", layout),
        Rule(f"{source}.bias", layer, "bias", vector),
    )


def torch_batch_norm(source: str, layer: str) -> tuple[Rule, ...]:
    """A torch batch normalisation; its counter of batches has no counterpart."""
    return tuple(
        Rule(f"{source}.{theirs}", layer, ours, vector) for theirs, ours in BATCH_NORM.items()
    )
