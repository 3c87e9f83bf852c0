"""The networks: pure Keras 3, on any backend."""

from fcn_keras.models.fcn import fcn8s, fcn16s, fcn32s
from fcn_keras.models.surgery import init_from

__all__ = ["fcn8s", "fcn16s", "fcn32s", "init_from"]
