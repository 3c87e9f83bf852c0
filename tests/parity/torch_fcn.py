"""FCN in plain ``torch.nn``, written from the papers' numbers and not from fcn_keras.

Every offset and padding stands here as the released prototxt files have it, so that an error in
fcn_keras' derivation can't hide. Parameters are named as in the released PyTorch-FCN checkpoints,
those of `BatchNormFCN8s` as in the batch-norm tutorial's state dict. Inputs are normalised images
``(B, 3, H, W)``, outputs logits ``(B, classes, H, W)``.
"""

import torch
from torch import nn
from torch.nn.functional import max_pool2d, relu

BLOCKS = {1: 2, 2: 2, 3: 3, 4: 3, 5: 3}


class FCN(nn.Module):
    """FCN-32s, FCN-16s or FCN-8s, in the original geometry (`caffe`) or with "same" padding."""

    def __init__(self, stride, classes, *, caffe=False, at_once=False, width=64, head=4096):
        super().__init__()
        self.stride, self.caffe = stride, caffe
        self.pool4_scale, self.pool3_scale = (0.01, 0.0001) if at_once else (1, 1)
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
        if stride == 32:
            self.upscore = self._upsample(classes, 64, 32, 16)
        else:
            self.upscore2 = self._upsample(classes, 4, 2, 1)
            self.score_pool4 = nn.Conv2d(filters[4], classes, 1)
        if stride == 16:
            self.upscore16 = self._upsample(classes, 32, 16, 8)
        if stride == 8:
            self.upscore_pool4 = self._upsample(classes, 4, 2, 1)
            self.score_pool3 = nn.Conv2d(filters[3], classes, 1)
            self.upscore8 = self._upsample(classes, 16, 8, 4)

    def _upsample(self, classes, kernel, stride, padding):
        padding = 0 if self.caffe else padding
        return nn.ConvTranspose2d(classes, classes, kernel, stride, padding, bias=False)

    def trunk(self, x):
        """The five pools, as a list."""
        pools = []
        for block, count in BLOCKS.items():
            for i in range(1, count + 1):
                x = relu(getattr(self, f"conv{block}_{i}")(x))
            x = max_pool2d(x, 2, stride=2, ceil_mode=True)
            pools.append(x)
        return pools

    def forward(self, image):
        _, _, pool3, pool4, pool5 = self.trunk(image)
        score = self.score_fr(relu(self.fc7(relu(self.fc6(pool5)))))
        if self.stride == 32:
            return self._cut(self.upscore(score), image, 19)
        score = self._fuse(self.upscore2(score), self.score_pool4(pool4 * self.pool4_scale), 5)
        if self.stride == 16:
            return self._cut(self.upscore16(score), image, 27)
        score = self._fuse(self.upscore_pool4(score), self.score_pool3(pool3 * self.pool3_scale), 9)
        return self._cut(self.upscore8(score), image, 31)

    def _fuse(self, upsampled, skip, offset):
        if self.caffe:
            return upsampled + crop(skip, upsampled, offset)
        return crop(upsampled, skip, 0) + skip

    def _cut(self, score, image, offset):
        return crop(score, image, offset if self.caffe else 0)


def crop(x, reference, offset):
    height, width = reference.shape[2:]
    return x[:, :, offset : offset + height, offset : offset + width]


class BatchNormFCN8s(nn.Module):
    """The batch-norm variant of FCN-8s: "same" padding, BN and ReLU behind every upsampling."""

    def __init__(self, classes, *, width=64, head=4096, dropout=0.1):
        super().__init__()
        filters = {1: width, 2: 2 * width, 3: 4 * width, 4: 8 * width, 5: 8 * width}
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

    def forward(self, image):
        x, layers = image, []
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
        return crop(self.transpose_conv3(x), image, 0)


def normalized(images):
    """RGB 0..255 ``(B, H, W, 3)`` (NumPy) as torchvision's weights take it, ``(B, 3, H, W)``."""
    x = torch.tensor(images, dtype=torch.float32).permute(0, 3, 1, 2) / 255
    mean = torch.tensor([0.485, 0.456, 0.406])[:, None, None]
    std = torch.tensor([0.229, 0.224, 0.225])[:, None, None]
    return (x - mean) / std
