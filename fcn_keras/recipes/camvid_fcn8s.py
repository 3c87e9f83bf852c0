"""FCN-8s on CamVid's 11 classes from an ImageNet VGG16. Not run in full yet.

Source: the CamVid split of SegNet's authors (367 train, 101 val, 233 test at 480 x 360). Later
papers cite FCN-8s there with 57.0 % mean IoU and 88.0 % pixel accuracy.

    fcn-keras train --recipe camvid_fcn8s --data-dir CamVid --weights vgg16.pth
"""

from fcn_keras.training.config import TrainConfig

config = TrainConfig(
    dataset="camvid",
    model="fcn8s",
    crop_size=352,
    batch_size=8,
    epochs=200,
    optimizer="sgd",
    learning_rate=0.01,
    momentum=0.9,
    weight_decay=5e-4,
    warmup_steps=100,
    clip_norm=5.0,
    precision="bfloat16",
    workers=8,
)
