"""The batch-norm variant of FCN-8s in plain ``torch.nn``, written from its tutorial's numbers.

Parameters are named as in the tutorial's state dict.
"""

from torch import nn

from experiments.benchmark.torch_fcn import BLOCKS, Normalize, crop


class BatchNormFCN8s(nn.Module):
    """The batch-norm variant of FCN-8s: "same" padding, BN and ReLU behind every upsampling."""

    def __init__(self, classes, *, width=64, head=4096, dropout=0.1):
        super().__init__()
        filters = {1: width, 2: 2 * width, 3: 4 * width, 4: 8 * width, 5: 8 * width}
        self.normalize = Normalize()
        self.backbone = nn.Module()
        channels = 3
        for block, count in BLOCKS.items():
            steps = []
            for _ in range(count):
                steps += [nn.Conv2d(channels, filters[block], 3, padding=1), nn.ReLU()]
                channels = filters[block]
            steps.append(nn.MaxPool2d(2, ceil_mode=True))
            setattr(self.backbone, f"layer{block}", nn.Sequential(*steps))
        self.head = nn.Module()
        self.head.fc6 = self._hidden(nn.Conv2d(filters[5], head, 7, padding=3), dropout)
        self.head.fc7 = self._hidden(nn.Conv2d(head, head, 1), dropout)
        self.layer3_conv = nn.Conv2d(filters[3], classes, 1)
        self.layer4_conv = nn.Conv2d(filters[4], classes, 1)
        self.layer5_conv = nn.Conv2d(head, classes, 1)
        self.transpose_conv1 = self._upsample(classes, 4, 2, 1)
        self.transpose_conv2 = self._upsample(classes, 4, 2, 1)
        self.transpose_conv3 = self._upsample(classes, 16, 8, 4)

    @staticmethod
    def _hidden(conv, dropout):
        return nn.Sequential(
            conv, nn.BatchNorm2d(conv.out_channels), nn.ReLU(), nn.Dropout(dropout)
        )

    @staticmethod
    def _upsample(classes, kernel, stride, padding):
        conv = nn.ConvTranspose2d(classes, classes, kernel, stride, padding)
        return nn.Sequential(conv, nn.BatchNorm2d(classes), nn.ReLU())

    def forward(self, pixels):
        x, layers = self.normalize(pixels), []
        for block in BLOCKS:
            x = getattr(self.backbone, f"layer{block}")(x)
            layers.append(x)
        x = self.layer5_conv(self.head.fc7(self.head.fc6(x)))
        for layer, score, upsample in (
            (layers[3], self.layer4_conv, self.transpose_conv1),
            (layers[2], self.layer3_conv, self.transpose_conv2),
        ):
            skip = score(layer)
            x = crop(upsample(x), skip, 0) + skip
        return crop(self.transpose_conv3(x), pixels, 0)
