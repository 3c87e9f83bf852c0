"""FCN-8s on photos of your own, on a GPU: crop and schedule follow from the photos. Not run yet.

Source: voc2012_fcn8s, with AdamW, which depends less on its rate. A run takes 40 steps for each
photo, within 1,000 and 20,000. Photos are scaled down to 960 pixels on their longer side, in
training and when the model is used; the crop is as large as most of them allow, up to 480 pixels.

    fcn-keras train --recipe own --data-dir mydata --weights vgg16.pth
"""

from fcn_keras.data.photos import Photos
from fcn_keras.training.config import TrainConfig

MAX_SIDE = 960  # a crop shows half of a side, or more
LARGEST_CROP = 480
BATCH_SIZE = 16
STEPS_PER_PHOTO, FEWEST_STEPS, MOST_STEPS = 40, 1000, 20_000


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
        max_side=MAX_SIDE,
        crop_size=photos.crop_size(LARGEST_CROP),
        batch_size=batch_size,
        epochs=epochs,
        val_epochs=-(-epochs // 20),
        optimizer="adamw",
        learning_rate=1e-4,
        weight_decay=0.01,
        warmup_steps=epochs * epoch_steps // 20,
        clip_norm=5.0,
        precision="bfloat16",
        workers=8,
    )
