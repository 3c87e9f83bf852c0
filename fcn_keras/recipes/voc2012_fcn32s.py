"""FCN-32s on PASCAL VOC 2012, the first stage of the paper's staged training. Not run in full yet.

Source: Long, Shelhamer, Darrell (PAMI 2017), section 4.3; solver as in `voc2012_fcn8s`. The paper
has 63.6 % mean IoU on seg11valid; with torchvision's VGG16 expect 60 to 62 %.

    fcn-keras train --recipe voc2012_fcn32s --data-dir VOCdevkit --weights vgg16.pth
"""

import dataclasses

from fcn_keras.recipes import voc2012_fcn8s

config = dataclasses.replace(voc2012_fcn8s.config, model="fcn32s")
