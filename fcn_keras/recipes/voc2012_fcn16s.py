"""FCN-16s on PASCAL VOC 2012, the second stage: starts from a trained FCN-32s. Not run in full yet.

Source: Long, Shelhamer, Darrell (PAMI 2017), section 4.3, where each stage starts from the one
before at a hundredth of its rate. The paper has 65.0 % mean IoU on seg11valid.

    fcn-keras train --recipe voc2012_fcn16s --data-dir VOCdevkit --init-from best.keras
"""

import dataclasses

from fcn_keras.recipes import voc2012_fcn32s

config = dataclasses.replace(
    voc2012_fcn32s.config, model="fcn16s", learning_rate=1e-3, epochs=30, warmup_steps=0
)
