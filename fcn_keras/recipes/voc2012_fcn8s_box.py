"""FCN-8s on PASCAL VOC 2012 for the model in the box: many small crops in bfloat16.

As `voc2012_fcn8s_cpu`, with photos made smaller, so that a crop of 224 pixels holds whole objects
and a step takes half the time: more photos are seen in the same hours. The averaged weights are
the ones that are kept.

Reached: 55.6 % mean IoU and 89.4 % pixel accuracy on 468 images of val and val2008, from
5,887 images of trainaug, in 91 minutes on two CPU cores with AMX: docs/results.md. The model that
ships goes on from there: voc2012_fcn8s_box2.

    fcn-keras train --recipe voc2012_fcn8s_box --data-dir VOCdevkit --weights vgg16.pth
"""

from dataclasses import replace

from fcn_keras.recipes.voc2012_fcn8s_cpu import config as base

config = replace(
    base,
    crop_size=224,
    min_scale=0.4,
    max_scale=1.0,
    color_jitter=0.2,
    epochs=5,
    val_epochs=1,
    precision="bfloat16",
    ema_decay=0.998,
    checkpoint_steps=200,
)
