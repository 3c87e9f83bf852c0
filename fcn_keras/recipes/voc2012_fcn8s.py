"""FCN-8s on PASCAL VOC 2012, trained at once from an ImageNet VGG16. Not run in full yet.

Source: Long, Shelhamer, Darrell (PAMI 2017), with the mini-batch solver of today: the original's
batch of 1 with momentum 0.99 and a summed loss becomes batch 16, momentum 0.9, a mean loss and
the poly schedule. The skips are not scaled down (`--at-once` would): the released model's factors
are for features of Caffe's pixel range; with torchvision's VGG16 they cost 15 points in a short
run (docs/results.md). Expected from the literature with torchvision's VGG16: 60 to 63 % mean IoU
on seg11valid.

    fcn-keras train --recipe voc2012_fcn8s --data-dir VOCdevkit --weights vgg16.pth
"""

from fcn_keras.training.config import TrainConfig

config = TrainConfig(
    dataset="voc2012",
    train_split="trainaug",
    model="fcn8s",
    crop_size=480,
    batch_size=16,
    epochs=60,
    optimizer="sgd",
    learning_rate=0.01,
    momentum=0.9,
    weight_decay=5e-4,
    warmup_steps=200,
    clip_norm=5.0,
    precision="bfloat16",
    workers=8,
)
