"""FCN-32s, FCN-16s and FCN-8s as Keras functional models, from one builder.

Source: Long, Shelhamer, Darrell, "Fully Convolutional Networks for Semantic Segmentation"
(CVPR 2015; PAMI 2017), section 4 and the released prototxt files for ``geometry="caffe"``.
"""

from __future__ import annotations

from typing import Any

import keras
from keras import layers

from fcn_keras.errors import InputError
from fcn_keras.models.anatomy import Design
from fcn_keras.models.convolution import Convolution
from fcn_keras.models.feature_map import FeatureMap
from fcn_keras.models.geometry import Grid
from fcn_keras.models.layers import Bilinear, ScaledNormal, Upsample
from fcn_keras.models.names import ModelName
from fcn_keras.models.vgg import backbone, normalize, normalized_relu

# "At once" training scales the skips down, since their features are larger than fc7's
# (the released voc-fcn8s-atonce).
AT_ONCE_SCALES = {"pool4": 0.01, "pool3": 0.0001}
# The first transposed convolution doubles fc7's scores, the next one the sum with pool4's.
DOUBLING_NAMES = {"pool4": "upscore2", "pool3": "upscore_pool4"}
# The original pads the image by 100: 99 here, and one by the first convolution itself.
CAFFE_BORDER = 99


def fcn32s(num_classes: int = 21, **options: Any) -> keras.Model:
    """FCN-32s: the scores of fc7 upsampled 32 times. Options as in `fcn8s`, without `at_once`."""
    return build(_design("fcn32s", num_classes, options))


def fcn16s(num_classes: int = 21, **options: Any) -> keras.Model:
    """FCN-16s: adds the scores of pool4, upsamples 16 times. Options as `fcn32s`'s."""
    return build(_design("fcn16s", num_classes, options))


def fcn8s(num_classes: int = 21, **options: Any) -> keras.Model:
    """FCN-8s: adds the scores of pool4 and pool3, upsamples 8 times.

    As `fcn_keras.fcn8s`, which lists the options, without its `weights`.

    Raises:
        InputError: an argument has a value that is not possible.
    """
    return build(_design("fcn8s", num_classes, options))


def _design(model: ModelName, num_classes: int, options: dict[str, Any]) -> Design:
    if "weights" in options:
        raise InputError(f"weights is an argument of fcn_keras.{model}: call that")
    if "trunk_width" in options:  # what the first release called it
        options["backbone_width"] = options.pop("trunk_width")
    return Design(model=model, num_classes=num_classes, **options)


def build(design: Design) -> keras.Model:
    """The model of a design, with initial values.

    It takes RGB images ``(B, H, W, 3)`` with values 0..255 (uint8 or float), of any height and
    width of at least one pixel, and returns logits ``(B, H, W, num_classes)`` in float32.

    Raises:
        InputError: Keras is set to channels first.
    """
    data_format = keras.config.image_data_format()
    if data_format != "channels_last":
        raise InputError(
            f'image_data_format={data_format!r} is not possible: it must be "channels_last"'
        )
    decoder = _Decoder(design)
    image = FeatureMap(keras.Input(design.input_shape, name="image"), Grid())
    border = CAFFE_BORDER if design.geometry == "caffe" else 0
    taps = backbone(normalize(image), design.vgg, design.backbone_width, border)
    x = decoder.score(_head(taps["pool5"], design), "score_fr")
    for tap in design.skips:
        skip = taps[tap]
        if design.at_once:
            scale = AT_ONCE_SCALES[tap]
            skip = skip.through(layers.Rescaling(scale, dtype="float32", name=f"scale_{tap}"))
        skip = decoder.score(skip, f"score_{tap}")
        x = decoder.upsample(x, stride=2, name=DOUBLING_NAMES[tap])
        x = decoder.fuse(x, skip, tap)
    stride = int(x.grid.stride)
    x = decoder.upsample(x, stride, f"upscore{stride}").crop_to(image, "crop")
    return keras.Model(image.tensor, x.tensor, name=design.model)


def _head(x: FeatureMap, design: Design) -> FeatureMap:
    """fc6 (7x7) and fc7 (1x1), VGG's two hidden linear layers as convolutions."""
    for name, kernel in (("fc6", 7), ("fc7", 1)):
        x = x.through(
            Convolution(
                design.head_width,
                kernel,
                padding="same" if design.geometry == "same" else "valid",
                activation=None if design.batch_norm else "relu",
                kernel_initializer=ScaledNormal(2.0, "fan_in"),
                data_format="channels_last",
                name=name,
            )
        )
        if design.batch_norm:
            x = normalized_relu(x, name)
        x = x.through(layers.Dropout(design.dropout, name=f"{name}_dropout"))
    return x


class _Decoder:
    """Builds scores, upsampling and fusion; all in float32, since their sums are the logits."""

    def __init__(self, design: Design):
        self.num_classes = design.num_classes
        self.same = design.geometry == "same"
        self.learned = design.upsampling == "learned"
        self.batch_norm = design.batch_norm

    def score(self, x: FeatureMap, name: str) -> FeatureMap:
        # Zero scores start training at a loss of ln(num_classes); under batch normalisation and
        # ReLU they would stay zero forever.
        initializer = ScaledNormal(1.0, "fan_avg") if self.batch_norm else "zeros"
        return x.through(
            Convolution(
                self.num_classes,
                1,
                kernel_initializer=initializer,
                data_format="channels_last",
                dtype="float32",
                name=name,
            )
        )

    def upsample(self, x: FeatureMap, stride: int, name: str) -> FeatureMap:
        x = x.through(
            Upsample(
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
            )
        )
        return normalized_relu(x, name, dtype="float32") if self.batch_norm else x

    def fuse(self, x: FeatureMap, skip: FeatureMap, tap: str) -> FeatureMap:
        """Crops the larger map to the smaller one and adds them.

        The original's padding makes the skip larger; without it the upsampled map is, since
        pools round up.
        """
        if self.same:
            x = x.crop_to(skip, f"crop_{tap}")
        else:
            skip = skip.crop_to(x, f"crop_{tap}")
        return x.add(skip, f"fuse_{tap}")
