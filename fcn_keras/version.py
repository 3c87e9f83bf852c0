"""The version, in a module of its own, so that printing it doesn't import Keras."""

__version__ = "0.2.0"
