"""FCN-8s on photos of your own, on a few CPU cores: crop and schedule follow from the photos.

The settings are those of camvid_fcn8s_cpu. A run takes 20 steps for each photo, within 300 and
1,500, and validates about ten times. Photos are scaled down to 512 pixels on their longer side, in
training and when the model is used; the crop is as large as most of them allow, up to 256 pixels.

Source: camvid_fcn8s_cpu. Expected: what the photos give.

    fcn-keras train --recipe own_cpu --data-dir mydata --init-from voc2012
"""

from fcn_keras.data.photos import Photos
from fcn_keras.training.config import TrainConfig

MAX_SIDE = 512  # a crop shows half of a side, or more
LARGEST_CROP = 256
BATCH_SIZE = 4
STEPS_PER_PHOTO, FEWEST_STEPS, MOST_STEPS = 20, 300, 1500


def config(photos: Photos) -> TrainConfig:
    """The settings for these photos."""
    photos = photos.reduced(MAX_SIDE)
    batch_size = min(BATCH_SIZE, photos.count)
    epoch_steps = photos.count // batch_size
    steps = min(max(STEPS_PER_PHOTO * photos.count, FEWEST_STEPS), MOST_STEPS)
    epochs = -(-steps // epoch_steps)
    return TrainConfig(
        dataset="folder",
        model="fcn8s",
        head_width=512,
        freeze_until="block2",
        max_side=MAX_SIDE,
        crop_size=photos.crop_size(LARGEST_CROP),
        batch_size=batch_size,
        epochs=epochs,
        val_epochs=-(-epochs // 10),
        max_val_images=100,
        optimizer="adamw",
        learning_rate=5e-4,
        backbone_rate=0.2,
        weight_decay=0.01,
        warmup_steps=epochs * epoch_steps // 20,
        clip_norm=5.0,
    )
