"""FCN-8s on CamVid, 45 minutes on two CPU cores: larger crops, CE plus Dice, changing colours.

As `camvid_fcn8s_cpu`, for what that one loses: Dice favours poles, signs and bicyclists, and
changing colours prepare for the test drive, which no training image is of. In bfloat16, which
needs a CPU that has it to be quick.

    fcn-keras train --recipe camvid_fcn8s_cpu_long --data-dir CamVid --weights vgg16.pth
"""

from dataclasses import replace

from fcn_keras.recipes.camvid_fcn8s_cpu import config as base

config = replace(
    base,
    crop_size=320,
    color_jitter=0.4,
    epochs=14,
    val_epochs=7,
    loss="ce_dice",
    ema_decay=0.998,
    precision="bfloat16",
    checkpoint_steps=200,
)
