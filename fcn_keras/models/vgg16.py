"""The VGG16 trunk (Simonyan and Zisserman, configuration D) with its pools as taps."""

from __future__ import annotations

from keras import KerasTensor, layers

from fcn_keras.imagenet import MEAN, STD
from fcn_keras.models.convolution import Convolution
from fcn_keras.models.layers import ScaledNormal
from fcn_keras.models.pooling import MaxPool

CONVOLUTIONS = (2, 2, 3, 3, 3)


def normalize(pixels: KerasTensor) -> KerasTensor:
    """RGB 0..255 to zero mean and unit deviation, in float32 whatever the compute type."""
    return layers.Rescaling(
        scale=[1 / (255 * std) for std in STD],
        offset=[-mean / std for mean, std in zip(MEAN, STD, strict=True)],
        dtype="float32",
        name="normalize",
    )(pixels)


def vgg16_trunk(x: KerasTensor, width: int = 64, first_padding: int = 1) -> dict[str, KerasTensor]:
    """Thirteen 3x3 convolutions and five pools that round up.

    Args:
        x: Normalised images ``(B, H, W, 3)``.
        width: Filters of the first block; 64 in VGG16. The others have 2, 4, 8 and 8 times as many.
        first_padding: Zeros around the image for ``block1_conv1``; the original FCN has 100.

    Returns:
        ``pool1`` to ``pool5``; pool ``k`` is ``(B, ceil(h / 2**k), ceil(w / 2**k), filters)``
        with ``h = H + 2 * first_padding - 2``.
    """
    if first_padding > 1:
        # The convolution's own "same" padding adds the last row of zeros.
        x = layers.ZeroPadding2D(first_padding - 1, data_format="channels_last", name="pad")(x)
    taps = {}
    for block, convolutions in enumerate(CONVOLUTIONS, start=1):
        for index in range(1, convolutions + 1):
            x = Convolution(
                width * min(2 ** (block - 1), 8),
                3,
                padding="same",
                activation="relu",
                kernel_initializer=ScaledNormal(2.0, "fan_out"),
                data_format="channels_last",
                name=f"block{block}_conv{index}",
            )(x)
        # "same" lets the last window hang over the edge, which is Caffe's rounding up.
        x = MaxPool(2, padding="same", data_format="channels_last", name=f"block{block}_pool")(x)
        taps[f"pool{block}"] = x
    return taps
