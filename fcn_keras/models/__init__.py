"""The networks: pure Keras 3, on any backend."""

from fcn_keras.models.anatomy import Design, design_of
from fcn_keras.models.fcn import build, fcn8s, fcn16s, fcn32s
from fcn_keras.models.surgery import init_from

__all__ = ["Design", "build", "design_of", "fcn8s", "fcn16s", "fcn32s", "init_from"]
