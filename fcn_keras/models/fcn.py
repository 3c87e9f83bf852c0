"""FCN-32s, FCN-16s and FCN-8s as Keras functional models, from one builder.

Source: Long, Shelhamer, Darrell, "Fully Convolutional Networks for Semantic Segmentation"
(CVPR 2015; PAMI 2017), section 4 and the released prototxt files for ``geometry="caffe"``.
"""

from __future__ import annotations

from collections.abc import Sequence
from os import PathLike

import keras
from keras import KerasTensor, layers

from fcn_keras.errors import InputError
from fcn_keras.models.convolution import Convolution
from fcn_keras.models.geometry import Grid, trunk
from fcn_keras.models.layers import Bilinear, Crop, ScaledNormal, Upsample
from fcn_keras.models.vgg16 import normalize, vgg16_trunk

# "At once" training scales the skips down, since their features are larger than fc7's
# (the released voc-fcn8s-atonce).
AT_ONCE_SCALES = {"pool4": 0.01, "pool3": 0.0001}
# The first transposed convolution doubles fc7's scores, the next one the sum with pool4's.
DOUBLING_NAMES = {"pool4": "upscore2", "pool3": "upscore_pool4"}


def fcn32s(num_classes: int = 21, **options) -> keras.Model:
    """FCN-32s: the scores of fc7 upsampled 32 times. Options as in `fcn8s`, without `at_once`."""
    return _build("fcn32s", num_classes, skips=(), **options)


def fcn16s(num_classes: int = 21, **options) -> keras.Model:
    """FCN-16s: adds the scores of pool4, upsamples 16 times. Options as in `fcn8s`, without
    `at_once`."""
    return _build("fcn16s", num_classes, skips=("pool4",), **options)


def fcn8s(num_classes: int = 21, *, at_once: bool = False, **options) -> keras.Model:
    """FCN-8s: adds the scores of pool4 and pool3, upsamples 8 times.

    The model takes RGB images ``(B, H, W, 3)`` with values 0..255 (uint8 or float), of any height
    and width of at least one pixel, and returns logits ``(B, H, W, num_classes)`` in float32.

    Args:
        num_classes: Classes including the background; 21 for PASCAL VOC.
        at_once: Scale pool4 by 0.01 and pool3 by 0.0001 before their scores, for training in
            one stage.
        input_shape: ``(height, width, 3)``; None leaves a size open.
        head_width: Filters of fc6 and fc7; 4096 in the paper.
        trunk_width: Filters of the first VGG16 block; 64 in VGG16.
        dropout: Rate after fc6 and fc7. None means the paper's 0.5, or 0.1 with `batch_norm`.
        upsampling: ``"frozen"`` bilinear interpolation, or ``"learned"`` starting from it. None
            means frozen, or learned with `batch_norm`.
        geometry: ``"same"`` pads every convolution to keep its size. ``"caffe"`` is the original's:
            100 zeros around the image, unpadded fc6 and transposed kernels, and crops.
        batch_norm: Batch normalisation and ReLU after fc6, fc7 and every transposed convolution,
            which then has a bias.
        weights: A file that `fcn_keras.load_weights` reads, such as torchvision's VGG16.

    Raises:
        InputError: an argument has a value outside those above, or the weights don't fit.
    """
    return _build("fcn8s", num_classes, skips=("pool4", "pool3"), at_once=at_once, **options)


def _build(
    name: str,
    num_classes: int,
    *,
    skips: Sequence[str],
    input_shape: tuple[int | None, int | None, int] = (None, None, 3),
    head_width: int = 4096,
    trunk_width: int = 64,
    dropout: float | None = None,
    upsampling: str | None = None,
    geometry: str = "same",
    batch_norm: bool = False,
    at_once: bool = False,
    weights: str | PathLike | None = None,
) -> keras.Model:
    dropout = (0.1 if batch_norm else 0.5) if dropout is None else dropout
    upsampling = upsampling or ("learned" if batch_norm else "frozen")
    _check("num_classes", num_classes, num_classes >= 1, "at least 1")
    _check("head_width", head_width, head_width >= 1, "at least 1")
    _check("trunk_width", trunk_width, trunk_width >= 1, "at least 1")
    _check("dropout", dropout, 0 <= dropout < 1, "at least 0 and below 1")
    _check("upsampling", upsampling, upsampling in ("frozen", "learned"), '"frozen" or "learned"')
    _check("geometry", geometry, geometry in ("same", "caffe"), '"same" or "caffe"')
    _check("input_shape", input_shape, len(input_shape) == 3 and input_shape[2] == 3, "(H, W, 3)")
    _check("at_once", at_once, not at_once or len(skips) == 2, "False: only fcn8s has both skips")
    data_format = keras.config.image_data_format()
    _check("image_data_format", data_format, data_format == "channels_last", '"channels_last"')

    same = geometry == "same"
    decoder = _Decoder(num_classes, same, upsampling == "learned", batch_norm)
    first_padding = 1 if same else 100
    image = keras.Input(input_shape, name="image")
    taps = vgg16_trunk(normalize(image), trunk_width, first_padding)
    grids = trunk(Grid(), first_padding)

    x = _classifier(taps["pool5"], head_width, dropout, "same" if same else "valid", batch_norm)
    x = decoder.score(x, "score_fr")
    grid = grids["pool5"].window(7, padding=3 if same else 0)
    for tap in skips:
        skip = taps[tap]
        if at_once:
            scale = AT_ONCE_SCALES[tap]
            skip = layers.Rescaling(scale, dtype="float32", name=f"scale_{tap}")(skip)
        skip = decoder.score(skip, f"score_{tap}")
        x, grid = decoder.upsample(x, grid, stride=2, name=DOUBLING_NAMES[tap])
        x, grid = decoder.fuse(x, grid, skip, grids[tap], tap)
    stride = int(grid.stride)
    x, grid = decoder.upsample(x, grid, stride, name=f"upscore{stride}")
    x = Crop(grid.offset_to(Grid()), dtype="float32", name="crop")(x, image)

    model = keras.Model(image, x, name=name)
    if weights is not None:
        from fcn_keras.weights import load_weights

        load_weights(model, weights)
    return model


def _check(argument: str, value, valid: bool, allowed: str) -> None:
    if not valid:
        raise InputError(f"{argument}={value!r} is not possible: it must be {allowed}")


def _classifier(
    x: KerasTensor, width: int, dropout: float, padding: str, batch_norm: bool
) -> KerasTensor:
    """fc6 (7x7) and fc7 (1x1), VGG16's two hidden linear layers as convolutions."""
    for name, kernel in (("fc6", 7), ("fc7", 1)):
        x = Convolution(
            width,
            kernel,
            padding=padding,
            activation=None if batch_norm else "relu",
            kernel_initializer=ScaledNormal(2.0, "fan_in"),
            data_format="channels_last",
            name=name,
        )(x)
        if batch_norm:
            x = _normalized_relu(x, name)
        x = layers.Dropout(dropout, name=f"{name}_dropout")(x)
    return x


def _normalized_relu(x: KerasTensor, name: str, dtype: str | None = None) -> KerasTensor:
    """Batch normalisation with PyTorch's constants, then ReLU."""
    x = layers.BatchNormalization(
        axis=-1, momentum=0.9, epsilon=1e-5, dtype=dtype, name=f"{name}_bn"
    )(x)
    return layers.ReLU(dtype=dtype, name=f"{name}_relu")(x)


class _Decoder:
    """Builds scores, upsampling and fusion; all in float32, since their sums are the logits."""

    def __init__(self, num_classes: int, same: bool, learned: bool, batch_norm: bool):
        self.num_classes = num_classes
        self.same = same
        self.learned = learned
        self.batch_norm = batch_norm

    def score(self, x: KerasTensor, name: str) -> KerasTensor:
        # Zero scores start training at a loss of ln(num_classes); under batch normalisation and
        # ReLU they would stay zero for ever.
        initializer = ScaledNormal(1.0, "fan_avg") if self.batch_norm else "zeros"
        return Convolution(
            self.num_classes,
            1,
            kernel_initializer=initializer,
            data_format="channels_last",
            dtype="float32",
            name=name,
        )(x)

    def upsample(
        self, x: KerasTensor, grid: Grid, stride: int, name: str
    ) -> tuple[KerasTensor, Grid]:
        x = Upsample(
            self.num_classes,
            2 * stride,
            strides=stride,
            padding="same" if self.same else "valid",
            use_bias=self.batch_norm,
            kernel_initializer=Bilinear(),
            data_format="channels_last",
            trainable=self.learned,
            dtype="float32",
            name=name,
        )(x)
        if self.batch_norm:
            x = _normalized_relu(x, name, dtype="float32")
        # k - 2p = s with k = 2s gives p = s / 2.
        return x, grid.transposed(2 * stride, stride, padding=stride // 2 if self.same else 0)

    def fuse(
        self, x: KerasTensor, grid: Grid, skip: KerasTensor, skip_grid: Grid, tap: str
    ) -> tuple[KerasTensor, Grid]:
        """Crops the larger map to the smaller one and adds them.

        The original's padding makes the skip larger; without it the upsampled map is, since
        pools round up.
        """
        if self.same:
            x = Crop(grid.offset_to(skip_grid), dtype="float32", name=f"crop_{tap}")(x, skip)
            grid = skip_grid
        else:
            offset = skip_grid.offset_to(grid)
            skip = Crop(offset, dtype="float32", name=f"crop_{tap}")(skip, x)
        return layers.Add(dtype="float32", name=f"fuse_{tap}")([x, skip]), grid
