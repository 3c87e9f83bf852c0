"""FCN-8s on PASCAL VOC 2012 for the model in the box, second stage: larger crops, CE plus Dice.

Starts from the model that `voc2012_fcn8s_box` ends with. Photos are made less small, since those
that are predicted aren't made smaller at all, and Dice counts every class of a batch alike.

Reached: 57.1 % mean IoU and 89.6 % pixel accuracy on 468 images of val and val2008, from 55.6 and
89.4, in 67 minutes on two CPU cores with AVX-512 BF16; 61.2 and 90.9 where photos are scaled down
to 320 pixels, as the model that ships sees them: docs/model.md.

    fcn-keras train --recipe voc2012_fcn8s_box2 --data-dir VOCdevkit --init-from best.keras
"""

from dataclasses import replace

from fcn_keras.recipes.voc2012_fcn8s_box import config as base

config = replace(
    base,
    crop_size=256,
    min_scale=0.5,
    max_scale=1.1,
    epochs=3,
    val_epochs=2,
    learning_rate=3e-4,
    loss="ce_dice",
)
