"""FCN in plain ``torch.nn``, written from the papers' numbers and not from fcn_keras.

Ours is timed against it and must compute the same. Every offset and padding stands here as the
released prototxt files have it, so that an error in fcn_keras' derivation can't hide. Parameters
are named as in the released PyTorch-FCN checkpoints.
"""

from __future__ import annotations

import torch
from torch import nn
from torch.nn.functional import dropout, max_pool2d, relu

BLOCKS = {1: 2, 2: 2, 3: 3, 4: 3, 5: 3}


class Normalize(nn.Module):
    """Pixels 0..255 ``(B, 3, H, W)`` as torchvision's weights take them."""

    def __init__(self):
        super().__init__()
        for name, values in (("mean", (0.485, 0.456, 0.406)), ("std", (0.229, 0.224, 0.225))):
            value = 255 * torch.tensor(values)[:, None, None]
            self.register_buffer(name, value, persistent=False)

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        """Subtracts the mean and divides by the standard deviation of each channel."""
        return (pixels - self.mean) / self.std


class FCN(nn.Module):
    """Pixels 0..255 ``(B, 3, H, W)`` to float32 logits ``(B, classes, H, W)``.

    Args:
        model: "fcn32s", "fcn16s" or "fcn8s".
        classes: Channels of the logits.
        caffe: The original geometry instead of "same" padding.
        at_once: The skips scaled as in the all-at-once training.
        width: Filters of the first block.
        head: Filters of fc6 and fc7.
        dropout: Probability behind fc6 and fc7.
    """

    def __init__(
        self, model, classes, *, caffe=False, at_once=False, width=64, head=4096, dropout=0.5
    ):
        super().__init__()
        self.model, self.caffe, self.at_once, self.dropout = model, caffe, at_once, dropout
        self.normalize = Normalize()
        filters = {1: width, 2: 2 * width, 3: 4 * width, 4: 8 * width, 5: 8 * width}
        channels = 3
        for block, count in BLOCKS.items():
            for i in range(1, count + 1):
                padding = 100 if caffe and (block, i) == (1, 1) else 1
                conv = nn.Conv2d(channels, filters[block], 3, padding=padding)
                setattr(self, f"conv{block}_{i}", conv)
                channels = filters[block]
        self.fc6 = nn.Conv2d(filters[5], head, 7, padding=0 if caffe else 3)
        self.fc7 = nn.Conv2d(head, head, 1)
        self.score_fr = nn.Conv2d(head, classes, 1)
        if model == "fcn32s":
            self.upscore = self._upsample(classes, 64, 32, 16)
        else:
            self.upscore2 = self._upsample(classes, 4, 2, 1)
            self.score_pool4 = nn.Conv2d(filters[4], classes, 1)
        if model == "fcn16s":
            self.upscore16 = self._upsample(classes, 32, 16, 8)
        if model == "fcn8s":
            self.upscore_pool4 = self._upsample(classes, 4, 2, 1)
            self.score_pool3 = nn.Conv2d(filters[3], classes, 1)
            self.upscore8 = self._upsample(classes, 16, 8, 4)

    def _upsample(self, classes, kernel, stride, padding):
        """Frozen, as in the released networks."""
        padding = 0 if self.caffe else padding
        layer = nn.ConvTranspose2d(classes, classes, kernel, stride, padding, bias=False)
        return layer.requires_grad_(False)

    def pools(self, pixels: torch.Tensor) -> list[torch.Tensor]:
        """The outputs of the five blocks."""
        x, pools = self.normalize(pixels), []
        for block, count in BLOCKS.items():
            for i in range(1, count + 1):
                x = relu(getattr(self, f"conv{block}_{i}")(x), inplace=True)
            x = max_pool2d(x, 2, stride=2, ceil_mode=True)
            pools.append(x)
        return pools

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        """The logits."""
        _, _, pool3, pool4, x = self.pools(pixels)
        for layer in (self.fc6, self.fc7):
            x = dropout(relu(layer(x), inplace=True), self.dropout, self.training)
        score = self.score_fr(x)
        if self.model == "fcn32s":
            return self._cut(self.upscore(score), pixels, 19)
        if self.at_once:
            pool4, pool3 = 0.01 * pool4, 0.0001 * pool3
        score = self._fuse(self.upscore2(score), self.score_pool4(pool4), 5)
        if self.model == "fcn16s":
            return self._cut(self.upscore16(score), pixels, 27)
        score = self._fuse(self.upscore_pool4(score), self.score_pool3(pool3), 9)
        return self._cut(self.upscore8(score), pixels, 31)

    def _fuse(self, upsampled, skip, offset):
        if self.caffe:
            return upsampled + crop(skip, upsampled, offset)
        return crop(upsampled, skip, 0) + skip

    def _cut(self, score, image, offset):
        return crop(score, image, offset if self.caffe else 0).float()


def crop(x: torch.Tensor, reference: torch.Tensor, offset: int) -> torch.Tensor:
    """The part of `x` from `offset` on that has the height and width of `reference`."""
    height, width = reference.shape[2:]
    return x[:, :, offset : offset + height, offset : offset + width]
