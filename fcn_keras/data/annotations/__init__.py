"""Annotation files of other programs, turned into data folders."""

from fcn_keras.data.annotations.conversion import FORMATS, Conversion, convert

__all__ = ["FORMATS", "Conversion", "convert"]
