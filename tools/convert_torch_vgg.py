"""`fcn-keras convert`, from a checkout: converts torchvision's VGG16 for every FCN."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from fcn_keras_cli import main

if __name__ == "__main__":
    main("convert")
