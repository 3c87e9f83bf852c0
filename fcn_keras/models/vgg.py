"""The VGG backbones (Simonyan and Zisserman, 2015) with their pools as taps."""

from __future__ import annotations

from dataclasses import dataclass

from keras import layers

from fcn_keras.imagenet import MEAN, STD
from fcn_keras.models.convolution import Convolution
from fcn_keras.models.feature_map import FeatureMap
from fcn_keras.models.layers import ScaledNormal
from fcn_keras.models.names import Backbone
from fcn_keras.models.pooling import MaxPool


@dataclass(frozen=True)
class VGG:
    """One of the paper's configurations.

    Attributes:
        title: Its name, for people.
        convolutions: 3x3 convolutions of each block; a pool follows every block.
        batch_norm: Whether batch normalisation follows every convolution.
    """

    title: str
    convolutions: tuple[int, ...]
    batch_norm: bool = False

    @property
    def blocks(self) -> tuple[tuple[str, ...], ...]:
        """The names of the convolutions, block by block."""
        return tuple(
            tuple(f"block{block}_conv{index}" for index in range(1, count + 1))
            for block, count in enumerate(self.convolutions, start=1)
        )

    @property
    def names(self) -> tuple[str, ...]:
        """The names of the convolutions, in order."""
        return tuple(name for block in self.blocks for name in block)


BACKBONES: dict[Backbone, VGG] = {
    "vgg13": VGG("VGG13", (2, 2, 2, 2, 2)),
    "vgg16": VGG("VGG16", (2, 2, 3, 3, 3)),
    "vgg16_bn": VGG("VGG16 with batch normalisation", (2, 2, 3, 3, 3), batch_norm=True),
    "vgg19": VGG("VGG19", (2, 2, 4, 4, 4)),
}


def normalize(pixels: FeatureMap) -> FeatureMap:
    """RGB 0..255 to zero mean and unit deviation, in float32 whatever the compute type."""
    return pixels.through(
        layers.Rescaling(
            scale=[1 / (255 * std) for std in STD],
            offset=[-mean / std for mean, std in zip(MEAN, STD, strict=True)],
            dtype="float32",
            name="normalize",
        )
    )


def normalized_relu(x: FeatureMap, name: str, dtype: str | None = None) -> FeatureMap:
    """Batch normalisation with PyTorch's constants, then ReLU."""
    x = x.through(
        layers.BatchNormalization(
            axis=-1, momentum=0.9, epsilon=1e-5, dtype=dtype, name=f"{name}_bn"
        )
    )
    return x.through(layers.ReLU(dtype=dtype, name=f"{name}_relu"))


def backbone(x: FeatureMap, vgg: VGG, width: int = 64, border: int = 0) -> dict[str, FeatureMap]:
    """3x3 convolutions and five pools that round up.

    Args:
        x: Normalised images ``(B, H, W, 3)``.
        vgg: The configuration.
        width: Filters of the first block; 64 in VGG. The others have 2, 4, 8 and 8 times as many.
        border: Zeros around the image, besides each convolution's own; the original FCN has 99.

    Returns:
        ``pool1`` to ``pool5``; pool ``k`` is ``(B, ceil(h / 2**k), ceil(w / 2**k), filters)``
        with ``h = H + 2 * border``.
    """
    if border:
        x = x.through(layers.ZeroPadding2D(border, data_format="channels_last", name="pad"))
    taps = {}
    for block, names in enumerate(vgg.blocks, start=1):
        for name in names:
            x = x.through(
                Convolution(
                    width * min(2 ** (block - 1), 8),
                    3,
                    padding="same",
                    activation=None if vgg.batch_norm else "relu",
                    kernel_initializer=ScaledNormal(2.0, "fan_out"),
                    data_format="channels_last",
                    name=name,
                )
            )
            if vgg.batch_norm:
                x = normalized_relu(x, name)
        # "same" lets the last window hang over the edge, which is Caffe's rounding up.
        pool = MaxPool(2, padding="same", data_format="channels_last", name=f"block{block}_pool")
        taps[f"pool{block}"] = x = x.through(pool)
    return taps
