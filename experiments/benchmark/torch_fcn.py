"""FCN in PyTorch as anyone would write it: the network that ours is timed against."""

from __future__ import annotations

import torch
from torch import nn

BLOCKS = (2, 2, 3, 3, 3)
SKIPS = {"fcn32s": 0, "fcn16s": 1, "fcn8s": 2}


class TorchFCN(nn.Module):
    """Raw pixels uint8 ``(B, 3, H, W)`` to logits ``(B, classes, H, W)``, "same" padding.

    The upsamplers are frozen as in fcn_keras' default. Height and width are multiples of 32.
    """

    def __init__(self, model: str, classes: int, width: int, head: int):
        super().__init__()
        self.skips = SKIPS[model]
        self.register_buffer("mean", 255 * torch.tensor([0.485, 0.456, 0.406])[:, None, None])
        self.register_buffer("std", 255 * torch.tensor([0.229, 0.224, 0.225])[:, None, None])
        blocks, channels = [], 3
        for index, count in enumerate(BLOCKS):
            layers, filters = [], width * min(2**index, 8)
            for _ in range(count):
                layers += [nn.Conv2d(channels, filters, 3, padding=1), nn.ReLU(inplace=True)]
                channels = filters
            blocks.append(nn.Sequential(*layers, nn.MaxPool2d(2)))
        self.blocks = nn.ModuleList(blocks)
        self.head = nn.Sequential(
            nn.Conv2d(channels, head, 7, padding=3),
            nn.ReLU(inplace=True),
            nn.Dropout(),
            nn.Conv2d(head, head, 1),
            nn.ReLU(inplace=True),
            nn.Dropout(),
            nn.Conv2d(head, classes, 1),
        )
        widths = (8 * width, 4 * width)[: self.skips]
        self.scores = nn.ModuleList(nn.Conv2d(w, classes, 1) for w in widths)
        strides = (2,) * self.skips + (32 // 2**self.skips,)
        self.upsamplers = nn.ModuleList(_upsampler(classes, s) for s in strides)

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        x, pools = (pixels - self.mean) / self.std, []
        for block in self.blocks:
            x = block(x)
            pools.append(x)
        x = self.head(x)
        for score, upsample, pool in zip(self.scores, self.upsamplers, pools[3:1:-1], strict=False):
            x = upsample(x) + score(pool)
        return self.upsamplers[-1](x).float()


def _upsampler(classes: int, stride: int) -> nn.ConvTranspose2d:
    layer = nn.ConvTranspose2d(classes, classes, 2 * stride, stride, stride // 2, bias=False)
    return layer.requires_grad_(False)
