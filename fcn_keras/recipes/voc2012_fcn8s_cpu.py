"""FCN-8s on PASCAL VOC 2012 at the scale of two CPU cores: narrow head, small crops, few epochs.

Blocks 1 to 3 of the backbone stay as ImageNet left them, and AdamW stands in for SGD. Photos are
made smaller more often than larger, so that a crop of 288 pixels holds whole objects; dropout is
light, since five epochs don't overfit.

Reached: 45.5 % mean IoU and 88.4 % pixel accuracy on 335 images of val, from 2,524 images of
trainaug, in 46 minutes of training: docs/results.md. With the full 10,582 images an epoch is four
times as long.

    fcn-keras train --recipe voc2012_fcn8s_cpu --data-dir VOCdevkit --weights vgg16.pth
"""

from fcn_keras.training.config import TrainConfig

config = TrainConfig(
    dataset="voc2012",
    train_split="trainaug",
    model="fcn8s",
    head_width=512,
    dropout=0.1,
    freeze_until="block3",
    crop_size=288,
    min_scale=0.5,
    max_scale=1.25,
    batch_size=8,
    epochs=5,
    val_epochs=2,
    max_val_images=100,
    optimizer="adamw",
    learning_rate=5e-4,
    backbone_rate=0.2,
    weight_decay=0.01,
    warmup_steps=100,
    clip_norm=5.0,
)
