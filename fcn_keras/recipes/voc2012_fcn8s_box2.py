"""FCN-8s on PASCAL VOC 2012 for the model in the box, second stage: larger crops, CE plus Dice.

Starts from the model that `voc2012_fcn8s_box` ends with. Photos are made less small, as they are
when they are predicted, and Dice favours what is found too seldom: chairs, sofas and tables.

    fcn-keras train --recipe voc2012_fcn8s_box2 --data-dir VOCdevkit \\
        --init-from runs/voc2012_fcn8s_box-DATE/best.keras
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
