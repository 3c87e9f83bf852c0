"""The version, apart from the package's ``__init__``: saying it needs no Keras."""

__version__ = "0.2.0"
